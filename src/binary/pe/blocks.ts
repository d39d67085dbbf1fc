/** Reads of an image in large blocks, each once: asking a process for every record would take a call for each. */
import { HotpatchError } from '../../errors.ts'

type ReadRva = (rva: number, length: number) => Uint8Array

const BLOCK = 0x10000

export class Blocks {
  readonly #read: ReadRva
  readonly #size: number
  readonly #blocks = new Map<number, Uint8Array>()
  #closed = false

  /** @param size of the image in memory, bytes */
  constructor(read: ReadRva, size: number) {
    this.#read = read
    this.#size = size
  }

  /** `length` bytes at `rva`. Throws TRUNCATED where they are outside of the image, or have not been read before `close`; and what reading throws. */
  readonly read: ReadRva = (rva, length) => {
    if (!(rva >= 0 && length >= 0 && rva + length <= this.#size))
      throw new HotpatchError('TRUNCATED', `${length} bytes at RVA 0x${rva.toString(16)} are outside of the image`)
    const first = Math.floor(rva / BLOCK)
    const last = Math.floor((rva + Math.max(length, 1) - 1) / BLOCK)
    if (first === last) return this.#block(first).subarray(rva - first * BLOCK, rva - first * BLOCK + length)
    const joined = new Uint8Array(length)
    for (let index = first; index <= last; index++) {
      const from = Math.max(rva, index * BLOCK)
      const to = Math.min(rva + length, (index + 1) * BLOCK)
      joined.set(this.#block(index).subarray(from - index * BLOCK, to - index * BLOCK), from - rva)
    }
    return joined
  }

  /** Reads what there is of `length` bytes at each of `rvas`. What cannot be read stays unread. Throws PROCESS_GONE, PERMISSION_DENIED. */
  ahead(rvas: Iterable<number>, length: number): void {
    const wanted = new Set<number>()
    for (const rva of rvas)
      for (let at = rva; at < rva + length + BLOCK; at += BLOCK) wanted.add(Math.floor(Math.min(at, rva + length) / BLOCK))
    for (const index of [...wanted].sort((a, b) => a - b)) this.#tryBlock(index)
  }

  /** Nothing is read any more. */
  close(): void {
    this.#closed = true
  }

  #tryBlock(index: number): void {
    if (index * BLOCK >= this.#size) return
    try {
      this.#block(index)
    } catch (error) {
      if (!(error instanceof HotpatchError) || error.code === 'PROCESS_GONE' || error.code === 'PERMISSION_DENIED') throw error
    }
  }

  #block(index: number): Uint8Array {
    const known = this.#blocks.get(index)
    if (known !== undefined) return known
    const at = index * BLOCK
    if (this.#closed) throw new HotpatchError('TRUNCATED', `the image at RVA 0x${at.toString(16)} has not been read`)
    const data = this.#read(at, Math.min(BLOCK, this.#size - at))
    this.#blocks.set(index, data)
    return data
  }
}
