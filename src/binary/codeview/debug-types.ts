/** What the CodeView of one object says about its types, functions and variables. */
import type { DebugTypes } from '../types/model.ts'
import { type CodeViewRecord, symbolRecords, typeRecords } from './records.ts'
import { PROCEDURE_PLACE, readSymbols, type Symbols, type SymbolsRead, typedefNames } from './symbols.ts'
import { LF } from './type-definitions.ts'
import { TypeRecords } from './type-records.ts'
import { type TypeTable, typeTable } from './type-table.ts'

export interface CodeViewSections {
  /** `.debug$T` */
  readonly types: Uint8Array
  /** Every `.debug$S`. */
  readonly symbols: readonly CodeViewSymbols[]
}

export interface CodeViewSymbols {
  readonly content: Uint8Array
  /** The linker's name of the symbol whose place stands at an offset of the section. */
  nameAt(offset: number): string | undefined
}

const ELSEWHERE: ReadonlySet<number> = new Set([LF.TYPESERVER, LF.TYPESERVER2, LF.PRECOMP])

/** undefined: the types are in another file (a PDB, a precompiled header). Throws TRUNCATED, MALFORMED. */
export function codeViewTypes({ types, symbols }: CodeViewSections): DebugTypes | undefined {
  const found = [...typeRecords(types)]
  if (found.some(({ kind }) => ELSEWHERE.has(kind))) return undefined
  const records = new TypeRecords(found)
  const read = symbolsOf(symbols)
  return debugTypes(typeTable(records, typedefNames(read.records, records)), undefined, read)
}

/** Functions and variables are read when they are first asked for. `shared`: as in DebugTypes. */
export function debugTypes(
  { reader, keys, fingerprint, definitions }: TypeTable,
  shared: string | undefined,
  symbols: Symbols,
): DebugTypes {
  let read: SymbolsRead | undefined
  const symbolsRead = (): SymbolsRead => {
    read ??= readSymbols(symbols, reader)
    return read
  }
  return {
    format: 'codeview',
    shared,
    keys,
    fingerprint,
    definitions,
    functions: () => symbolsRead().functions,
    variables: () => symbolsRead().variables,
  }
}

/** The symbols of all sections. Throws TRUNCATED, MALFORMED. */
export function symbolsOf(sections: readonly CodeViewSymbols[]): Symbols {
  const owners = new Map<CodeViewRecord, CodeViewSymbols>()
  for (const section of sections) for (const record of symbolRecords(section.content)) owners.set(record, section)
  return { records: [...owners.keys()], linkerName: (record) => owners.get(record)?.nameAt(record.offset + PROCEDURE_PLACE) }
}
