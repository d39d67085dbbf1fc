/** Decompresses .xz files, as far as xz itself makes them: one stream of blocks, each compressed by LZMA2 alone. */
import { crc32 } from 'node:zlib'
import { HotpatchError } from '../../errors.ts'
import { slice, viewOf } from '../struct.ts'
import { checkOf } from './checks.ts'
import { BLOCK, CHECK_SIZES, FILTER_LZMA2, STREAM_HEADER_SIZE, XZ_FOOTER_MAGIC, XZ_MAGIC } from './definitions.ts'
import { decodeLzma2, Output } from './lzma2.ts'

const malformed = (what: string): HotpatchError => new HotpatchError('MALFORMED', `the .xz data are damaged: ${what}`)

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

export const isXz = (data: Uint8Array): boolean => same(data.subarray(0, XZ_MAGIC.length), XZ_MAGIC)

/**
 * @param most bytes that it may hold
 * Throws FORMAT_UNKNOWN (no .xz, or filters beside LZMA2), TRUNCATED, MALFORMED.
 */
export function readXz(data: Uint8Array, most: number): Uint8Array {
  if (!isXz(data)) throw new HotpatchError('FORMAT_UNKNOWN', 'the data do not begin as .xz files do')
  const header = slice(data, 0, STREAM_HEADER_SIZE, 'the header of the .xz data')
  const flags = header.subarray(6, 8)
  const check = header[7] as number
  if (header[6] !== 0 || check > 0x0f) throw new HotpatchError('FORMAT_UNKNOWN', `the .xz data have flags 0x${check.toString(16)}`)
  if (!hasCrc(flags, header, 8)) throw malformed('the check sum of the header is another')
  const output = new Output(most)
  const blocks: Block[] = []
  let at = STREAM_HEADER_SIZE
  while (slice(data, at, 1, 'the .xz data')[0] !== 0) {
    const block = readBlock(data, at, check, output)
    blocks.push(block)
    at = block.end
  }
  const end = readIndex(data, at, blocks)
  readFooter(data, end, end - at, flags)
  return output.from(0)
}

interface Block {
  /** Without the padding behind it. */
  readonly size: number
  readonly uncompressed: number
  /** Of the next. */
  readonly end: number
}

const padded = (size: number): number => (size + 3) & ~3

const hasCrc = (of: Uint8Array, data: Uint8Array, at: number): boolean => viewOf(data).getUint32(at, true) === crc32(of)

function readBlock(data: Uint8Array, at: number, check: number, output: Output): Block {
  const headerSize = ((data[at] as number) + 1) * 4
  const header = slice(data, at, headerSize, 'the header of a block')
  if (!hasCrc(header.subarray(0, headerSize - 4), header, headerSize - 4)) throw malformed("the check sum of a block's header is another")
  const sizes = readBlockHeader(header.subarray(0, headerSize - 4))
  const start = output.length
  const body = at + headerSize
  const bodyEnd = decodeLzma2(data, body, output)
  const uncompressed = output.length - start
  if ((sizes.compressed ?? bodyEnd - body) !== bodyEnd - body || (sizes.uncompressed ?? uncompressed) !== uncompressed)
    throw malformed('a block has another size than it says')
  const checkAt = at + padded(bodyEnd - at)
  const given = slice(data, checkAt, CHECK_SIZES[check] as number, 'the check of a block')
  if (data.subarray(bodyEnd, checkAt).some((byte) => byte !== 0)) throw malformed('the padding of a block is not zero')
  const computed = checkOf(check, output.from(start))
  if (computed !== undefined && !same(computed, given)) throw malformed('the check of a block is another')
  return { size: bodyEnd - at + given.length, uncompressed, end: checkAt + given.length }
}

function readBlockHeader(header: Uint8Array): { readonly compressed: number | undefined; readonly uncompressed: number | undefined } {
  const flags = header[1] as number
  const numbers = new Numbers(header, 2)
  const compressed = flags & BLOCK.COMPRESSED_SIZE ? numbers.next() : undefined
  const uncompressed = flags & BLOCK.UNCOMPRESSED_SIZE ? numbers.next() : undefined
  const filter = numbers.next()
  if ((flags & (BLOCK.RESERVED | BLOCK.FILTERS)) !== 0 || filter !== FILTER_LZMA2)
    throw new HotpatchError('FORMAT_UNKNOWN', 'the .xz data were compressed with filters beside LZMA2')
  return { compressed, uncompressed }
}

/** Numbers of 7 bits a byte, the lowest first. */
class Numbers {
  readonly #data: Uint8Array
  at: number

  constructor(data: Uint8Array, at: number) {
    this.#data = data
    this.at = at
  }

  /** Throws TRUNCATED, MALFORMED (beyond 2^53). */
  next(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = slice(this.#data, this.at++, 1, 'a number in the .xz data')[0] as number
      value += (byte & 0x7f) * factor
      if (!Number.isSafeInteger(value)) throw malformed('a number is too large')
      if (byte < 0x80) return value
    }
  }
}

/** The place behind it. */
function readIndex(data: Uint8Array, at: number, blocks: readonly Block[]): number {
  const numbers = new Numbers(data, at + 1)
  if (numbers.next() !== blocks.length) throw malformed('the index has not as many blocks as there are')
  for (const { size, uncompressed } of blocks)
    if (numbers.next() !== size || numbers.next() !== uncompressed) throw malformed('a block has another size than the index says')
  const crcAt = at + padded(numbers.at - at)
  slice(data, crcAt, 4, 'the index of the .xz data')
  if (data.subarray(numbers.at, crcAt).some((byte) => byte !== 0)) throw malformed('the padding of the index is not zero')
  if (!hasCrc(data.subarray(at, crcAt), data, crcAt)) throw malformed('the check sum of the index is another')
  return crcAt + 4
}

function readFooter(data: Uint8Array, at: number, indexSize: number, flags: Uint8Array): void {
  const footer = slice(data, at, STREAM_HEADER_SIZE, 'the footer of the .xz data')
  if (!hasCrc(footer.subarray(4, 10), footer, 0)) throw malformed('the check sum of the footer is another')
  const isSame =
    (viewOf(footer).getUint32(4, true) + 1) * 4 === indexSize &&
    same(footer.subarray(8, 10), flags) &&
    same(footer.subarray(10), XZ_FOOTER_MAGIC)
  if (!isSame) throw malformed('the footer does not fit the header and the index')
  // Streams may be padded; a second one is not made for a single file.
  if (data.subarray(at + STREAM_HEADER_SIZE).some((byte) => byte !== 0))
    throw new HotpatchError('FORMAT_UNKNOWN', 'the .xz data have more than one stream')
}
