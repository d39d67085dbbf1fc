/** Decodes LZMA2: chunks of LZMA and of stored bytes, each with its sizes in front. */
import { HotpatchError } from '../../errors.ts'
import { slice } from '../struct.ts'
import { CHUNK, RESET } from './definitions.ts'
import { LzmaDecoder } from './lzma.ts'

/** Where the decoded bytes go. Grows as they come, up to a limit. */
export class Output {
  readonly #most: number
  #bytes = new Uint8Array(1 << 16)
  length = 0

  constructor(most: number) {
    this.#most = most
  }

  /** The bytes, with room for `count` more. Throws MALFORMED (they would be more than the limit). */
  withRoomFor(count: number): Uint8Array {
    const needed = this.length + count
    if (needed > this.#most) throw new HotpatchError('MALFORMED', `the compressed data hold more than ${this.#most} bytes`)
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(this.#most, Math.max(needed, 2 * this.#bytes.length)))
      grown.set(this.#bytes.subarray(0, this.length))
      this.#bytes = grown
    }
    return this.#bytes
  }

  from(start: number): Uint8Array {
    return this.#bytes.subarray(start, this.length)
  }
}

const malformed = (what: string): HotpatchError => new HotpatchError('MALFORMED', `the compressed data are damaged: ${what}`)

/** Decodes from `at` up to the end marker, which every sequence of chunks has. Gives the place behind it. Throws TRUNCATED, MALFORMED. */
export function decodeLzma2(data: Uint8Array, at: number, output: Output): number {
  let decoder: LzmaDecoder | undefined
  let properties: number | undefined
  let start: number | undefined
  const u8 = (): number => slice(data, at++, 1, 'a chunk of compressed data')[0] as number
  const u16 = (): number => u8() * 256 + u8()
  for (;;) {
    const control = u8()
    if (control === CHUNK.END) return at
    if (control > CHUNK.STORED && control < CHUNK.LZMA) throw malformed(`a chunk of the kind ${control}`)
    const reset = control < CHUNK.LZMA ? undefined : (control >> 5) & 3
    if (control === CHUNK.STORED_NEW_DICTIONARY || reset === RESET.DICTIONARY) start = output.length
    if (start === undefined) throw malformed('the first chunk continues another')
    if (reset === undefined) {
      const size = u16() + 1
      output.withRoomFor(size).set(slice(data, at, size, 'a chunk of stored data'), output.length)
      output.length += size
      at += size
      continue
    }
    const size = ((control & 0x1f) << 16) + u16() + 1
    const compressed = u16() + 1
    if (reset >= RESET.PROPERTIES) properties = u8()
    if (reset >= RESET.STATE) decoder = properties === undefined ? undefined : new LzmaDecoder(properties)
    if (decoder === undefined) throw malformed('a chunk without properties')
    const end = output.length + size
    decoder.decode(slice(data, at, compressed, 'a chunk of compressed data'), output.withRoomFor(size), start, output.length, end)
    output.length = end
    at += compressed
  }
}
