/** The memory of a stopped process as a stack walker asks for it: the window that was read beforehand, and more where that ends. */
import type { StackMemory } from '../../machine/x64/unwind.ts'
import type { StackWindow, StoppedThreads } from '../../process/contract.ts'

/** What is read at a time where a stack is deeper than its window. */
const BLOCK = 0x10000
const PAGE = 0x1000
const UPPER = 2 ** 32

export class StoppedMemory implements StackMemory {
  #stopped: StoppedThreads | undefined
  #words: Uint32Array = new Uint32Array(0)
  #at = 0
  #start = 0
  /** Of the last whole word, from `#start`; negative: there is none. */
  #last = -1
  readonly #block = new Uint8Array(BLOCK)
  readonly #blockWords = new Uint32Array(this.#block.buffer)
  #blockStart = 0
  #blockEnd = 0
  readonly #odd = new Uint8Array(8)
  readonly #oddView = new DataView(this.#odd.buffer)
  readonly #upperMask: number

  /** `upperMask`: the bits of a word's upper half that belong to addresses. */
  constructor(upperMask: number) {
    this.#upperMask = upperMask
  }

  /** For the thread whose stack `window` shows. */
  use(stopped: StoppedThreads, window: StackWindow): void {
    if (stopped !== this.#stopped) {
      this.#stopped = stopped
      this.#blockEnd = this.#blockStart
    }
    this.#words = window.words
    this.#at = window.at
    this.#start = window.address
    this.#last = window.length - 8
  }

  /** Forgets the process, whose memory changes from now on. */
  release(): void {
    this.#stopped = undefined
    this.#blockEnd = this.#blockStart
    this.#last = -1
  }

  word(address: number): number {
    // A remainder of large numbers is a call of fmod, many times as slow as all the rest of this.
    const offset = address - this.#start
    if (offset >= 0 && offset <= this.#last && (offset & 3) === 0) {
      const at = this.#at + (offset >>> 2)
      return (this.#words[at] as number) + (((this.#words[at + 1] as number) & this.#upperMask) >>> 0) * UPPER
    }
    return this.#further(address)
  }

  code(address: number, into: Uint8Array): number {
    return this.#stopped?.read(address, into) ?? 0
  }

  #further(address: number): number {
    if (!(address >= 0 && address < 2 ** 48)) return Number.NaN
    if (address % 4 !== 0) {
      if (this.code(address, this.#odd) < 8) return Number.NaN
      return this.#oddView.getUint32(0, true) + ((this.#oddView.getUint32(4, true) & this.#upperMask) >>> 0) * UPPER
    }
    if (address < this.#blockStart || address + 8 > this.#blockEnd) this.#load(address)
    if (address < this.#blockStart || address + 8 > this.#blockEnd) return Number.NaN
    const at = (address - this.#blockStart) / 4
    return (this.#blockWords[at] as number) + (((this.#blockWords[at + 1] as number) & this.#upperMask) >>> 0) * UPPER
  }

  /** Stacks are walked upwards, so the block begins where it is needed; a word before its page's end is in it whole. */
  #load(address: number): void {
    this.#blockStart = address - (address % PAGE)
    if (address % PAGE > PAGE - 8) this.#blockStart = address
    this.#blockEnd = this.#blockStart + this.code(this.#blockStart, this.#block)
  }
}
