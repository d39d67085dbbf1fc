/** The checks that an .xz stream can have behind each block. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { CHECK } from './definitions.ts'

/** ECMA-182's polynomial, its bits in reverse. */
const POLYNOMIAL = 0xc96c5795d7870f42n

/** Two halves, since numbers hold no 64 bits and BigInt is slow. */
let tables: { readonly low: Uint32Array; readonly high: Uint32Array } | undefined

function makeTables(): { readonly low: Uint32Array; readonly high: Uint32Array } {
  const low = new Uint32Array(256)
  const high = new Uint32Array(256)
  for (let i = 0; i < 256; i++) {
    let value = BigInt(i)
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ POLYNOMIAL : value >> 1n
    low[i] = Number(value & 0xffffffffn)
    high[i] = Number(value >> 32n)
  }
  return { low, high }
}

function crc64(data: Uint8Array): Uint8Array {
  tables ??= makeTables()
  let [low, high] = [0xffffffff, 0xffffffff]
  for (const byte of data) {
    const index = (low ^ byte) & 0xff
    low = ((low >>> 8) | (high << 24)) ^ (tables.low[index] as number)
    high = (high >>> 8) ^ (tables.high[index] as number)
  }
  return new Uint8Array(Uint32Array.of(~low, ~high).buffer)
}

const CHECKS: Readonly<Record<number, (data: Uint8Array) => Uint8Array>> = {
  [CHECK.NONE]: () => new Uint8Array(),
  [CHECK.CRC32]: (data) => new Uint8Array(Uint32Array.of(crc32(data)).buffer),
  [CHECK.CRC64]: crc64,
  [CHECK.SHA256]: (data) => new Uint8Array(createHash('sha256').update(data).digest()),
}

/** undefined: a check of this id is not known, and its bytes say nothing. */
export const checkOf = (id: number, data: Uint8Array): Uint8Array | undefined => CHECKS[id]?.(data)
