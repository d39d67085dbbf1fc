/** Cutting `.debug$T`, `.debug$S` and streams of PDBs into their records, and reading the fields of one. */
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import { CV_SIGNATURE_C13, NUMERIC, SYMBOLS_SUBSECTION } from './type-definitions.ts'

export interface CodeViewRecord {
  readonly kind: number
  /** What follows the kind. */
  readonly data: Uint8Array
  /** Of `data`, from the start of the section or stream. */
  readonly offset: number
}

const malformed = (what: string): HotpatchError => new HotpatchError('MALFORMED', what)

/** Throws MALFORMED, TRUNCATED. */
export function* typeRecords(section: Uint8Array): Generator<CodeViewRecord> {
  yield* recordsIn(section, signed(section, '.debug$T'), section.length, '.debug$T')
}

/** Symbols of all subsections of one `.debug$S`. Throws MALFORMED, TRUNCATED. */
export function* symbolRecords(section: Uint8Array): Generator<CodeViewRecord> {
  const view = viewOf(section)
  let at = signed(section, '.debug$S')
  while (at + 8 <= section.length) {
    const [kind, size] = [view.getUint32(at, true), view.getUint32(at + 4, true)]
    const end = at + 8 + size
    if (end > section.length)
      throw new HotpatchError('TRUNCATED', `a subsection of .debug$S has ${size} bytes at offset ${at}, more than there are`)
    if (kind === SYMBOLS_SUBSECTION) yield* recordsIn(section, at + 8, end, '.debug$S')
    at = (end + 3) & ~3
  }
}

function signed(section: Uint8Array, name: string): number {
  if (section.length < 4) throw new HotpatchError('TRUNCATED', `${name} has ${section.length} bytes`)
  const signature = viewOf(section).getUint32(0, true)
  if (signature !== CV_SIGNATURE_C13) throw malformed(`${name} begins with ${signature}, which is no signature of CodeView 8`)
  return 4
}

/** What lies from `start` to `end`, one behind the other. `name`: of the whole, for errors. Throws MALFORMED, TRUNCATED. */
export function* recordsIn(section: Uint8Array, start: number, end: number, name: string): Generator<CodeViewRecord> {
  const view = viewOf(section)
  let at = start
  while (at + 4 <= end) {
    const length = view.getUint16(at, true)
    if (length < 2) throw malformed(`a record of ${name} at offset ${at} has length ${length}`)
    if (at + 2 + length > end)
      throw new HotpatchError('TRUNCATED', `a record of ${name} at offset ${at} has ${length} bytes, more than there are`)
    yield { kind: view.getUint16(at + 2, true), data: section.subarray(at + 4, at + 2 + length), offset: at + 4 }
    at += 2 + length
  }
}

/** Fields of a record, one after the other. Throws TRUNCATED, MALFORMED. */
export class Fields {
  readonly #view: DataView
  readonly #data: Uint8Array
  at: number

  constructor(data: Uint8Array, at = 0) {
    this.#data = data
    this.#view = viewOf(data)
    this.at = at
  }

  get atEnd(): boolean {
    return this.at >= this.#data.length
  }

  #take(size: number): number {
    const { at } = this
    if (at + size > this.#data.length)
      throw new HotpatchError('TRUNCATED', `a record of ${this.#data.length} bytes ends within a field at ${at}`)
    this.at += size
    return at
  }

  u8 = (): number => this.#view.getUint8(this.#take(1))
  u16 = (): number => this.#view.getUint16(this.#take(2), true)
  u32 = (): number => this.#view.getUint32(this.#take(4), true)

  /** Beyond 2^53 rounded. */
  numeric(): number {
    const leaf = this.u16()
    if (leaf < 0x8000) return leaf
    const form = NUMERIC[leaf]
    if (form === undefined) throw malformed(`a number has the unknown form 0x${leaf.toString(16)}`)
    const [size, isSigned] = form
    const at = this.#take(size)
    const view = this.#view
    switch (size) {
      case 1:
        return view.getInt8(at)
      case 2:
        return isSigned ? view.getInt16(at, true) : view.getUint16(at, true)
      case 4:
        return isSigned ? view.getInt32(at, true) : view.getUint32(at, true)
      case 8:
        return Number(isSigned ? view.getBigInt64(at, true) : view.getBigUint64(at, true))
    }
  }

  /** Up to a zero byte. */
  text(): string {
    const end = this.#data.indexOf(0, this.at)
    if (end < 0) throw new HotpatchError('TRUNCATED', 'a name has no end')
    const { buffer, byteOffset } = this.#data
    const text = Buffer.from(buffer, byteOffset + this.at, end - this.at).toString('utf8')
    this.at = end + 1
    return text
  }

  /** Padding between the parts of a field list: 0xf0 and how many bytes are left, itself included. */
  skipPadding(): void {
    while (!this.atEnd) {
      const byte = this.#data[this.at] as number
      if (byte <= 0xf0) return
      this.at += byte & 0x0f
    }
  }
}
