/** Decompresses .xz data by @napi-rs/lzma, which stops at nothing: how much they hold is counted first. */
import { createRequire } from 'node:module'
import type * as Lzma from '@napi-rs/lzma'
import { HotpatchError } from '../../errors.ts'
import { slice } from '../struct.ts'
import { CHECK_SIZES, CHUNK, NO_BLOCK, RESET_PROPERTIES, STREAM_HEADER_SIZE, XZ_MAGIC } from './definitions.ts'

export const isXz = (data: Uint8Array): boolean => Buffer.compare(data.subarray(0, XZ_MAGIC.length), XZ_MAGIC) === 0

/**
 * One stream of blocks, each compressed by LZMA2 alone, as xz makes them; checks of the contents are held against, but for SHA-256.
 * @param most bytes that it may hold
 * Throws FORMAT_UNKNOWN (no .xz, or without the library), TRUNCATED, MALFORMED (damaged, larger, or made with what the library does not know).
 */
export function readXz(data: Uint8Array, most: number): Uint8Array {
  if (!isXz(data)) throw new HotpatchError('FORMAT_UNKNOWN', 'the data do not begin as .xz files do')
  const size = sizeOf(data)
  if (size > most) throw malformed(`they hold more than ${most} bytes`)
  const { xz } = library()
  try {
    return new Uint8Array(xz.decompressSync(data))
  } catch (error) {
    throw malformed(error instanceof Error ? error.message : String(error))
  }
}

/** Has a part for each system, which npm may have left out. */
function library(): typeof Lzma {
  try {
    return createRequire(import.meta.url)('@napi-rs/lzma') as typeof Lzma
  } catch (error) {
    throw new HotpatchError('FORMAT_UNKNOWN', 'the .xz data cannot be decompressed here: @napi-rs/lzma is not installed for this system', {
      cause: error,
    })
  }
}

const malformed = (what: string): HotpatchError => new HotpatchError('MALFORMED', `the .xz data cannot be decompressed: ${what}`)

/** Bytes that the chunks of all blocks say they hold: a decoder goes by the same. */
function sizeOf(data: Uint8Array): number {
  const check = (slice(data, 0, STREAM_HEADER_SIZE, 'the header of the .xz data')[7] as number) & 0x0f
  let size = 0
  for (let at = STREAM_HEADER_SIZE; ; ) {
    const words = slice(data, at, 1, 'the .xz data')[0] as number
    if (words === NO_BLOCK) return size
    const body = at + 4 * (words + 1)
    const chunks = chunksFrom(data, body)
    size += chunks.size
    at = body + 4 * Math.ceil((chunks.end - body) / 4) + (CHECK_SIZES[check] as number)
  }
}

/** What the chunks from `start` up to the end marker hold, and the place behind that. */
function chunksFrom(data: Uint8Array, start: number): { readonly size: number; readonly end: number } {
  let size = 0
  let at = start
  for (;;) {
    const control = slice(data, at, 1, 'a chunk of compressed data')[0] as number
    if (control === CHUNK.END) return { size, end: at + 1 }
    const [, high = 0, low = 0, packedHigh = 0, packedLow = 0] = slice(data, at, control < CHUNK.LZMA ? 3 : 5, 'a chunk of compressed data')
    const count = high * 256 + low + 1
    if (control < CHUNK.LZMA) {
      if (control > CHUNK.STORED) throw malformed(`a chunk is of the kind ${control}`)
      size += count
      at += 3 + count
    } else {
      const properties = ((control >> 5) & 3) >= RESET_PROPERTIES ? 1 : 0
      size += ((control & 0x1f) << 16) + count
      at += 5 + properties + packedHigh * 256 + packedLow + 1
    }
  }
}
