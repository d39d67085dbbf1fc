/** Reading DWARF's variable-length numbers and encoded pointers from bytes that may be damaged. */
import { HotpatchError } from '../../errors.ts'

/** A reading position in `data`. Every read throws TRUNCATED past the end. Numbers are safe integers or MALFORMED. */
export class Cursor {
  readonly data: Uint8Array
  readonly view: DataView
  at: number
  readonly end: number

  constructor(data: Uint8Array, at = 0, end = data.length) {
    if (at < 0 || end > data.length || at > end)
      throw new HotpatchError('TRUNCATED', `DWARF data from ${at} to ${end} does not lie within ${data.length} bytes`)
    this.data = data
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength)
    this.at = at
    this.end = end
  }

  get done(): boolean {
    return this.at >= this.end
  }

  private take(length: number): number {
    const at = this.at
    if (length < 0 || at + length > this.end)
      throw new HotpatchError('TRUNCATED', `DWARF data ends at ${this.end}, ${length} bytes at ${at} were announced`)
    this.at = at + length
    return at
  }

  u8(): number {
    return this.view.getUint8(this.take(1))
  }
  i8(): number {
    return this.view.getInt8(this.take(1))
  }
  u16(): number {
    return this.view.getUint16(this.take(2), true)
  }
  i16(): number {
    return this.view.getInt16(this.take(2), true)
  }
  u32(): number {
    return this.view.getUint32(this.take(4), true)
  }
  i32(): number {
    return this.view.getInt32(this.take(4), true)
  }
  u64(): bigint {
    return this.view.getBigUint64(this.take(8), true)
  }
  i64(): bigint {
    return this.view.getBigInt64(this.take(8), true)
  }

  bytes(length: number): Uint8Array {
    const at = this.take(length)
    return this.data.subarray(at, at + length)
  }

  uleb(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (value > Number.MAX_SAFE_INTEGER) break
      if ((byte & 0x80) === 0) return value
      scale *= 128
    }
    throw new HotpatchError('MALFORMED', `a ULEB128 number before offset ${this.at} exceeds 53 bits`)
  }

  sleb(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      scale *= 128
      if ((byte & 0x80) === 0) {
        const signed = (byte & 0x40) !== 0 ? value - scale : value
        if (Number.isSafeInteger(signed)) return signed
        break
      }
    }
    throw new HotpatchError('MALFORMED', `a SLEB128 number before offset ${this.at} exceeds 53 bits`)
  }

  /** Moves on by `length` bytes. */
  skip(length: number): void {
    this.take(length)
  }

  /** Moves behind a LEB128 number of whatever size. */
  skipLeb(): void {
    while ((this.u8() & 0x80) !== 0);
  }

  /** Moves behind a zero-terminated string. */
  skipString(): void {
    const end = this.data.indexOf(0, this.at)
    this.take((end < 0 ? this.end : end) + 1 - this.at)
  }

  /** A ULEB128 number of up to 64 bits, rounded to what a double can hold. */
  looseUleb(): number {
    return this.#looseLeb(false)
  }

  /** A SLEB128 number of up to 64 bits, rounded to what a double can hold. */
  looseSleb(): number {
    return this.#looseLeb(true)
  }

  #looseLeb(signed: boolean): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      scale *= 128
      if ((byte & 0x80) === 0) return signed && (byte & 0x40) !== 0 ? value - scale : value
    }
    throw new HotpatchError('MALFORMED', `a LEB128 number before offset ${this.at} exceeds 64 bits`)
  }
}
