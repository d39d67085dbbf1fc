/**
 * Binary structures as tables: a format's definitions name their fields once, in file order, and get reading,
 * writing, sizes and offsets from it. All formats here are little-endian.
 */
import { HotpatchError } from '../errors.ts'

export interface Field<T> {
  readonly size: number
  read(view: DataView, at: number): T
  write(view: DataView, at: number, value: T): void
}

const field = <T>(size: number, read: Field<T>['read'], write: Field<T>['write']): Field<T> => ({ size, read, write })

export const u8 = field<number>(
  1,
  (v, at) => v.getUint8(at),
  (v, at, x) => v.setUint8(at, x),
)
export const u16 = field<number>(
  2,
  (v, at) => v.getUint16(at, true),
  (v, at, x) => v.setUint16(at, x, true),
)
export const u32 = field<number>(
  4,
  (v, at) => v.getUint32(at, true),
  (v, at, x) => v.setUint32(at, x, true),
)
export const u64 = field<bigint>(
  8,
  (v, at) => v.getBigUint64(at, true),
  (v, at, x) => v.setBigUint64(at, x, true),
)
export const i16 = field<number>(
  2,
  (v, at) => v.getInt16(at, true),
  (v, at, x) => v.setInt16(at, x, true),
)
export const i32 = field<number>(
  4,
  (v, at) => v.getInt32(at, true),
  (v, at, x) => v.setInt32(at, x, true),
)
export const i64 = field<bigint>(
  8,
  (v, at) => v.getBigInt64(at, true),
  (v, at, x) => v.setBigInt64(at, x, true),
)

/** `count` raw bytes; reading copies them. */
export const bytes = (count: number): Field<Uint8Array> =>
  field(
    count,
    (v, at) => new Uint8Array(v.buffer, v.byteOffset + at, count).slice(),
    (v, at, x) => {
      if (x.length !== count) throw new HotpatchError('DEFECT', `a field of ${count} bytes was given ${x.length}`)
      new Uint8Array(v.buffer, v.byteOffset + at, count).set(x)
    },
  )

/** A name in `count` bytes, padded with zeros (Latin-1). */
export const chars = (count: number): Field<string> =>
  field(
    count,
    (v, at) => {
      let text = ''
      for (let i = 0; i < count; i++) {
        const c = v.getUint8(at + i)
        if (c === 0) break
        text += String.fromCharCode(c)
      }
      return text
    },
    (v, at, x) => {
      if (x.length > count) throw new HotpatchError('DEFECT', `"${x}" does not fit in ${count} bytes`)
      for (let i = 0; i < count; i++) v.setUint8(at + i, i < x.length ? x.charCodeAt(i) : 0)
    },
  )

type Fields = Record<string, Field<unknown>>
type FieldsOf<F> = { [K in keyof F]: F[K] extends Field<infer T> ? T : never }

/** A structure is a field too, so that structures nest. */
export interface Struct<T> extends Field<T> {
  readonly name: string
  /** Offset of each field from the start of the structure, in bytes. */
  readonly offsets: { readonly [K in keyof T]: number }
  /** As `read`, with a bounds check that names the structure. Throws TRUNCATED. */
  readAt(data: Uint8Array, at: number): T
  /** `count` structures in a row, from `at`, `stride` bytes apart (default: the structure's size). Throws TRUNCATED. */
  readMany(data: Uint8Array, at: number, count: number, stride?: number): T[]
  /** A fresh buffer that holds `value`. */
  encode(value: T): Uint8Array
}

/** The type of the values that a structure table describes. */
export type Of<S> = S extends Struct<infer T> ? T : never

export const viewOf = (data: Uint8Array): DataView => new DataView(data.buffer, data.byteOffset, data.byteLength)

export function struct<const F extends Fields>(name: string, fields: F): Struct<FieldsOf<F>> {
  type T = FieldsOf<F>
  const entries = Object.entries(fields)
  const offsets: Record<string, number> = {}
  let size = 0
  for (const [key, f] of entries) {
    offsets[key] = size
    size += f.size
  }
  const read = (view: DataView, at: number): T => {
    const value: Record<string, unknown> = {}
    for (const [key, f] of entries) value[key] = f.read(view, at + (offsets[key] as number))
    return value as T
  }
  const write = (view: DataView, at: number, value: T): void => {
    for (const [key, f] of entries) f.write(view, at + (offsets[key] as number), (value as Record<string, unknown>)[key])
  }
  const check = (data: Uint8Array, at: number, length: number): void => {
    if (!Number.isSafeInteger(at) || at < 0 || at + length > data.length)
      throw new HotpatchError('TRUNCATED', `${name} at offset ${at} needs ${length} bytes, the data has ${data.length}`)
  }
  return {
    name,
    size,
    offsets: offsets as { [K in keyof T]: number },
    read,
    write,
    readAt(data, at) {
      check(data, at, size)
      return read(viewOf(data), at)
    },
    readMany(data, at, count, stride = size) {
      if (count === 0) return []
      if (stride < size) throw new HotpatchError('MALFORMED', `entries of ${name} are ${stride} bytes apart, they need ${size}`)
      check(data, at, stride * (count - 1) + size)
      const view = viewOf(data)
      return Array.from({ length: count }, (_, i) => read(view, at + i * stride))
    },
    encode(value) {
      const data = new Uint8Array(size)
      write(viewOf(data), 0, value)
      return data
    },
  }
}

/** `length` bytes of `data` from `at`, as a view. Throws TRUNCATED, naming `what`. */
export function slice(data: Uint8Array, at: number, length: number, what: string): Uint8Array {
  if (!Number.isSafeInteger(at) || !Number.isSafeInteger(length) || at < 0 || length < 0 || at + length > data.length)
    throw new HotpatchError('TRUNCATED', `${what} at offset ${at} needs ${length} bytes, the data has ${data.length}`)
  return data.subarray(at, at + length)
}

/** The zero-terminated Latin-1 string at `at`. Throws TRUNCATED, naming `what`. */
export function cstring(data: Uint8Array, at: number, what: string): string {
  const end = at >= 0 && at < data.length ? data.indexOf(0, at) : -1
  if (end < 0) throw new HotpatchError('TRUNCATED', `${what} at offset ${at} has no end within ${data.length} bytes`)
  return Buffer.from(data.buffer, data.byteOffset + at, end - at).toString('latin1')
}
