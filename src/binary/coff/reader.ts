/** Reads COFF objects, /bigobj objects and short imports. Nothing in the file is trusted. */
import { HotpatchError } from '../../errors.ts'
import { cstring, type Of, slice, viewOf } from '../struct.ts'
import {
  AnonObjectHeaderBigobj,
  BIGOBJ_CLASS_ID,
  IMAGE_FILE_MACHINE,
  IMAGE_SCN,
  ImageFileHeader,
  ImageRelocation,
  ImageSectionHeader,
  ImportObjectHeader,
} from './definitions.ts'
import { type CoffSymbol, readSymbols, type SymbolTableLocation, stringTable } from './symbols.ts'

export interface CoffObject {
  readonly kind: 'object'
  /** IMAGE_FILE_MACHINE. */
  readonly machine: number
  readonly bigobj: boolean
  readonly timeDateStamp: number
  readonly characteristics: number
  readonly sections: readonly CoffSection[]
  readonly symbols: readonly CoffSymbol[]
}

export interface CoffSection {
  /** Counts from 1, as symbols do. */
  readonly number: number
  /** The long name where it has one. */
  readonly name: string
  /** Bytes, also for uninitialised data. */
  readonly size: number
  /** undefined: uninitialised data. */
  readonly content: Uint8Array | undefined
  readonly characteristics: number
  readonly relocations: readonly CoffRelocation[]
}

export interface CoffRelocation {
  /** Of the field, from the start of the section. */
  readonly offset: number
  /** CoffSymbol.index of the target. */
  readonly symbolIndex: number
  readonly type: number
}

export interface CoffImport {
  readonly kind: 'import'
  readonly machine: number
  readonly timeDateStamp: number
  /** The linker's name of the symbol, without `__imp_`. */
  readonly symbol: string
  readonly library: string
  readonly ordinalOrHint: number
  /** IMPORT_OBJECT_TYPE. */
  readonly type: 'code' | 'data' | 'const' | 'unknown'
  /** IMPORT_OBJECT_NAME_TYPE: how the name in the DLL follows from the symbol. */
  readonly nameType: number
}

const MACHINES: ReadonlySet<number> = new Set(Object.values(IMAGE_FILE_MACHINE))

type CoffKind = 'object' | 'bigobj' | 'import'

function kindOf(data: Uint8Array): CoffKind | undefined {
  if (data.length < ImageFileHeader.size) return undefined
  const view = viewOf(data)
  if (view.getUint16(0, true) !== 0 || view.getUint16(2, true) !== 0xffff) {
    const header = ImageFileHeader.read(view, 0)
    const table = ImageFileHeader.size + header.NumberOfSections * ImageSectionHeader.size
    return MACHINES.has(header.Machine) && header.SizeOfOptionalHeader === 0 && table <= data.length ? 'object' : undefined
  }
  const version = view.getUint16(4, true)
  if (version === 0) return MACHINES.has(view.getUint16(6, true)) ? 'import' : undefined
  if (version < 2 || data.length < AnonObjectHeaderBigobj.size) return undefined
  const header = AnonObjectHeaderBigobj.read(view, 0)
  return header.ClassID.every((byte, i) => byte === BIGOBJ_CLASS_ID[i]) ? 'bigobj' : undefined
}

/** Whether the data is a COFF object, a /bigobj object or a short import, of any machine. Looks at the header only. */
export const isCoffObject = (data: Uint8Array): boolean => kindOf(data) !== undefined

/** Throws FORMAT_UNKNOWN, TRUNCATED, MALFORMED. */
export function readCoffObject(data: Uint8Array): CoffObject | CoffImport {
  switch (kindOf(data)) {
    case undefined:
      throw new HotpatchError('FORMAT_UNKNOWN', 'the data is no COFF object')
    case 'import':
      return readImport(data)
    case 'object':
      return readObject(data, { ...ImageFileHeader.readAt(data, 0), size: ImageFileHeader.size, bigobj: false })
    case 'bigobj': {
      const header = AnonObjectHeaderBigobj.readAt(data, 0)
      return readObject(data, { ...header, Characteristics: 0, size: AnonObjectHeaderBigobj.size, bigobj: true })
    }
  }
}

interface ObjectHeader {
  readonly Machine: number
  readonly TimeDateStamp: number
  readonly NumberOfSections: number
  readonly PointerToSymbolTable: number
  readonly NumberOfSymbols: number
  readonly Characteristics: number
  readonly size: number
  readonly bigobj: boolean
}

function readObject(data: Uint8Array, header: ObjectHeader): CoffObject {
  const at: SymbolTableLocation = { pointer: header.PointerToSymbolTable, count: header.NumberOfSymbols, bigobj: header.bigobj }
  const strings = stringTable(data, at)
  const sections = ImageSectionHeader.readMany(data, header.size, header.NumberOfSections)
  return {
    kind: 'object',
    machine: header.Machine,
    bigobj: header.bigobj,
    timeDateStamp: header.TimeDateStamp,
    characteristics: header.Characteristics,
    sections: sections.map((section, i) => readSection(data, section, i + 1, strings)),
    symbols: readSymbols(data, at),
  }
}

function readSection(data: Uint8Array, header: Of<typeof ImageSectionHeader>, number: number, strings: Uint8Array): CoffSection {
  const name = sectionName(header.Name, strings)
  const empty = header.PointerToRawData === 0 || (header.Characteristics & IMAGE_SCN.CNT_UNINITIALIZED_DATA) !== 0
  return {
    number,
    name,
    size: header.SizeOfRawData,
    content: empty ? undefined : slice(data, header.PointerToRawData, header.SizeOfRawData, `section ${name}`),
    characteristics: header.Characteristics,
    relocations: readRelocations(data, header, name),
  }
}

/**
 * A section's name: up to eight characters, or `/` and a decimal offset in the string table, or `//` and the offset in base 64
 * (LLVM's, for tables of more than 9,999,999 bytes). Images without a string table keep the short form. Throws MALFORMED.
 */
export function sectionName(name: string, strings: Uint8Array): string {
  if (!name.startsWith('/') || strings.length === 0) return name
  const offset = name.startsWith('//') ? fromBase64(name.slice(2)) : /^\/\d+$/.test(name) ? Number(name.slice(1)) : undefined
  if (offset === undefined) throw new HotpatchError('MALFORMED', `the section name "${name}" is no offset in the string table`)
  return cstring(strings, offset, `the name of section "${name}"`)
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

function fromBase64(digits: string): number | undefined {
  let value = 0
  for (const digit of digits) {
    const place = BASE64.indexOf(digit)
    if (place < 0) return undefined
    value = value * 64 + place
  }
  return value
}

function readRelocations(data: Uint8Array, header: Of<typeof ImageSectionHeader>, name: string): CoffRelocation[] {
  let start = header.PointerToRelocations
  let count = header.NumberOfRelocations
  if ((header.Characteristics & IMAGE_SCN.LNK_NRELOC_OVFL) !== 0 && count === 0xffff) {
    // More than 0xFFFE relocations: the first record's address is the count, itself included.
    const total = ImageRelocation.readAt(data, start).VirtualAddress
    if (total < 1) throw new HotpatchError('MALFORMED', `the relocation count of section ${name} is 0 where it overflows`)
    count = total - 1
    start += ImageRelocation.size
  }
  const table = slice(data, start, count * ImageRelocation.size, `the relocations of section ${name}`)
  const view = viewOf(table)
  const { SymbolTableIndex, Type } = ImageRelocation.offsets
  return Array.from({ length: count }, (_, i) => {
    const at = i * ImageRelocation.size
    return {
      offset: view.getUint32(at, true),
      symbolIndex: view.getUint32(at + SymbolTableIndex, true),
      type: view.getUint16(at + Type, true),
    }
  })
}

const IMPORT_TYPES = ['code', 'data', 'const', 'unknown'] as const

function readImport(data: Uint8Array): CoffImport {
  const header = ImportObjectHeader.readAt(data, 0)
  const names = slice(data, ImportObjectHeader.size, header.SizeOfData, 'the names of a short import')
  const symbol = cstring(names, 0, 'the symbol of a short import')
  return {
    kind: 'import',
    machine: header.Machine,
    timeDateStamp: header.TimeDateStamp,
    symbol,
    library: cstring(names, symbol.length + 1, 'the library of a short import'),
    ordinalOrHint: header.OrdinalOrHint,
    type: IMPORT_TYPES[(header.TypeAndNameType & 3) as 0 | 1 | 2 | 3],
    nameType: (header.TypeAndNameType >> 2) & 7,
  }
}
