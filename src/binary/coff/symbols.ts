/** The COFF symbol table: the same in objects and, where a linker of the GNU kind left it, in images. */
import { HotpatchError } from '../../errors.ts'
import { slice, viewOf } from '../struct.ts'
import {
  IMAGE_SYM_CLASS,
  IMAGE_SYM_DTYPE_FUNCTION,
  ImageAuxFunction,
  ImageAuxSection,
  ImageAuxWeak,
  ImageSymbol,
  ImageSymbolEx,
} from './definitions.ts'

export interface CoffSymbol {
  /** Place in the table, auxiliary records counted: what relocations refer to. */
  readonly index: number
  /** For a .file symbol: `.file`; the source file is in `aux`. */
  readonly name: string
  /** Offset from the start of its section; the size for a common symbol. */
  readonly value: number
  /** Counts from 1; see IMAGE_SYM for 0 and below. */
  readonly sectionNumber: number
  readonly type: number
  readonly storageClass: number
  readonly aux: CoffAux | undefined
}

export type CoffAux =
  | { readonly kind: 'file'; readonly name: string }
  | {
      readonly kind: 'section'
      readonly length: number
      readonly relocations: number
      readonly checkSum: number
      /** The section that this one goes with (counts from 1), for IMAGE_COMDAT_SELECT.ASSOCIATIVE. */
      readonly associated: number
      readonly selection: number
    }
  /** `tagIndex`: the symbol that stands in when no other module defines this one. */
  | { readonly kind: 'weak'; readonly tagIndex: number; readonly search: number }
  | { readonly kind: 'function'; readonly totalSize: number }

export interface SymbolTableLocation {
  /** File offset; 0 where there is no table. */
  readonly pointer: number
  /** Records, auxiliary ones counted. */
  readonly count: number
  readonly bigobj: boolean
}

export const isFunctionSymbol = (symbol: { readonly type: number }): boolean => (symbol.type & 0x30) === IMAGE_SYM_DTYPE_FUNCTION

/**
 * The string table behind a symbol table: its first 4 bytes are its size, and offsets count from those. Empty where there is
 * none. Throws TRUNCATED.
 */
export function stringTable(data: Uint8Array, at: SymbolTableLocation): Uint8Array {
  if (at.pointer === 0) return new Uint8Array()
  const start = at.pointer + at.count * (at.bigobj ? ImageSymbolEx : ImageSymbol).size
  // An empty string table may be left out altogether.
  if (start === data.length) return new Uint8Array()
  const size = viewOf(slice(data, start, 4, 'the size of the COFF string table')).getUint32(0, true)
  return slice(data, start, Math.max(size, 4), 'the COFF string table')
}

/**
 * Reads names for one symbol table. Many symbols of a hostile file may share one endless name, so that a small file would fill
 * the memory: linkers share only tails of names, which never adds up to more than a few times the string table.
 */
class Names {
  readonly #table: Buffer
  readonly #strings: Buffer
  #budget: number

  constructor(table: Uint8Array, strings: Uint8Array) {
    this.#table = Buffer.from(table.buffer, table.byteOffset, table.byteLength)
    this.#strings = Buffer.from(strings.buffer, strings.byteOffset, strings.byteLength)
    this.#budget = 16 * strings.length + 0x10000
  }

  /** The eight bytes at `at`, up to the first zero. */
  short(at: number): string {
    let end = at
    while (end < at + 8 && this.#table[end] !== 0) end++
    return this.#table.toString('latin1', at, end)
  }

  long(offset: number, index: number): string {
    if (offset === 0) return ''
    const end = this.#strings.indexOf(0, offset)
    if (offset >= this.#strings.length || end < 0)
      throw new HotpatchError(
        'TRUNCATED',
        `the name of COFF symbol ${index} at offset ${offset} has no end within ${this.#strings.length} bytes`,
      )
    this.#budget -= end - offset
    if (this.#budget < 0) throw new HotpatchError('MALFORMED', 'the names of the COFF symbols overlap beyond measure')
    return this.#strings.toString('latin1', offset, end)
  }
}

/** Symbols without their auxiliary records, by ascending index. Throws TRUNCATED, MALFORMED. */
export function readSymbols(data: Uint8Array, at: SymbolTableLocation): CoffSymbol[] {
  if (at.pointer === 0 || at.count === 0) return []
  const record = at.bigobj ? ImageSymbolEx : ImageSymbol
  const { Value, SectionNumber, Type, StorageClass, NumberOfAuxSymbols } = record.offsets
  const table = slice(data, at.pointer, at.count * record.size, 'the COFF symbol table')
  const names = new Names(table, stringTable(data, at))
  const view = viewOf(table)
  const symbols: CoffSymbol[] = []
  // One pass by hand: images bring tens of thousands of symbols.
  for (let index = 0; index < at.count; ) {
    const place = index * record.size
    const auxiliaries = view.getUint8(place + NumberOfAuxSymbols)
    if (index + 1 + auxiliaries > at.count)
      throw new HotpatchError('MALFORMED', `COFF symbol ${index} announces ${auxiliaries} auxiliary records, the table ends before them`)
    const long = view.getUint32(place, true) === 0
    const type = view.getUint16(place + Type, true)
    const storageClass = view.getUint8(place + StorageClass)
    symbols.push({
      index,
      name: long ? names.long(view.getUint32(place + 4, true), index) : names.short(place),
      value: view.getUint32(place + Value, true),
      sectionNumber: at.bigobj ? view.getInt32(place + SectionNumber, true) : view.getInt16(place + SectionNumber, true),
      type,
      storageClass,
      aux:
        auxiliaries === 0
          ? undefined
          : readAux(table, place + record.size, auxiliaries * record.size, { type, storageClass, bigobj: at.bigobj }),
    })
    index += 1 + auxiliaries
  }
  return symbols
}

interface AuxOwner {
  readonly type: number
  readonly storageClass: number
  readonly bigobj: boolean
}

function readAux(table: Uint8Array, at: number, length: number, owner: AuxOwner): CoffAux | undefined {
  const view = viewOf(table)
  switch (owner.storageClass) {
    case IMAGE_SYM_CLASS.FILE: {
      const text = Buffer.from(table.buffer, table.byteOffset + at, length)
      const end = text.indexOf(0)
      return { kind: 'file', name: text.toString('latin1', 0, end < 0 ? length : end) }
    }
    case IMAGE_SYM_CLASS.WEAK_EXTERNAL: {
      const { TagIndex, Characteristics } = ImageAuxWeak.offsets
      return { kind: 'weak', tagIndex: view.getUint32(at + TagIndex, true), search: view.getUint32(at + Characteristics, true) }
    }
    case IMAGE_SYM_CLASS.STATIC:
    case IMAGE_SYM_CLASS.SECTION:
      // A static function's record has the function type; a section's symbol has none.
      return isFunctionSymbol(owner) ? functionAux(view, at) : sectionAux(view, at, owner.bigobj)
    case IMAGE_SYM_CLASS.EXTERNAL:
      return isFunctionSymbol(owner) ? functionAux(view, at) : undefined
    default:
      return undefined
  }
}

function sectionAux(view: DataView, at: number, bigobj: boolean): CoffAux {
  const { Length, NumberOfRelocations, CheckSum, Number: Low, Selection, HighNumber } = ImageAuxSection.offsets
  return {
    kind: 'section',
    length: view.getUint32(at + Length, true),
    relocations: view.getUint16(at + NumberOfRelocations, true),
    checkSum: view.getUint32(at + CheckSum, true),
    associated: view.getUint16(at + Low, true) + (bigobj ? view.getUint16(at + HighNumber, true) * 0x10000 : 0),
    selection: view.getUint8(at + Selection),
  }
}

const functionAux = (view: DataView, at: number): CoffAux => ({
  kind: 'function',
  totalSize: view.getUint32(at + ImageAuxFunction.offsets.TotalSize, true),
})
