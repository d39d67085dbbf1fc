/** The COFF symbol table: the same in objects and, where a linker of the GNU kind left it, in images. */
import { HotpatchError } from '../../errors.ts'
import { cstring, slice, viewOf } from '../struct.ts'
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
  readonly #strings: Uint8Array
  #budget: number

  constructor(table: Uint8Array, strings: Uint8Array) {
    this.#table = Buffer.from(table.buffer, table.byteOffset, table.byteLength)
    this.#strings = strings
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
    const name = cstring(this.#strings, offset, `the name of COFF symbol ${index}`)
    this.#budget -= name.length
    if (this.#budget < 0) throw new HotpatchError('MALFORMED', 'the names of the COFF symbols overlap beyond measure')
    return name
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
    const symbol = {
      index,
      name: long ? names.long(view.getUint32(place + 4, true), index) : names.short(place),
      value: view.getUint32(place + Value, true),
      sectionNumber: at.bigobj ? view.getInt32(place + SectionNumber, true) : view.getInt16(place + SectionNumber, true),
      type: view.getUint16(place + Type, true),
      storageClass: view.getUint8(place + StorageClass),
    }
    const aux = auxiliaries === 0 ? undefined : table.subarray(place + record.size, place + (1 + auxiliaries) * record.size)
    symbols.push({ ...symbol, aux: aux === undefined ? undefined : readAux(symbol, aux, at.bigobj) })
    index += 1 + auxiliaries
  }
  return symbols
}

function readAux(symbol: Omit<CoffSymbol, 'aux'>, aux: Uint8Array, bigobj: boolean): CoffAux | undefined {
  switch (symbol.storageClass) {
    case IMAGE_SYM_CLASS.FILE: {
      const end = aux.indexOf(0)
      return { kind: 'file', name: Buffer.from(end < 0 ? aux : aux.subarray(0, end)).toString('latin1') }
    }
    case IMAGE_SYM_CLASS.WEAK_EXTERNAL: {
      const weak = ImageAuxWeak.readAt(aux, 0)
      return { kind: 'weak', tagIndex: weak.TagIndex, search: weak.Characteristics }
    }
    case IMAGE_SYM_CLASS.STATIC:
    case IMAGE_SYM_CLASS.SECTION: {
      // A static function's record has the function type; a section's symbol has none.
      if (isFunctionSymbol(symbol)) return functionAux(aux)
      const section = ImageAuxSection.readAt(aux, 0)
      return {
        kind: 'section',
        length: section.Length,
        relocations: section.NumberOfRelocations,
        checkSum: section.CheckSum,
        associated: section.Number + (bigobj ? section.HighNumber * 0x10000 : 0),
        selection: section.Selection,
      }
    }
    case IMAGE_SYM_CLASS.EXTERNAL:
      return isFunctionSymbol(symbol) ? functionAux(aux) : undefined
    default:
      return undefined
  }
}

const functionAux = (aux: Uint8Array): CoffAux => ({ kind: 'function', totalSize: ImageAuxFunction.readAt(aux, 0).TotalSize })
