/** What the CodeView of one object says about its types, functions and variables. */

import { fingerprintOf } from '../types/fingerprint.ts'
import type { DebugTypes, FunctionInfo, VariableInfo } from '../types/model.ts'
import { type CodeViewRecord, Fields, symbolRecords, typeRecords } from './records.ts'
import { FIRST_INDEX, LF, S } from './type-definitions.ts'
import { CodeViewTypeReader } from './type-reader.ts'

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

/** undefined: the types are in another file (a PDB, a precompiled header). Throws TRUNCATED, MALFORMED. */
export function codeViewTypes({ types, symbols }: CodeViewSections): DebugTypes | undefined {
  const records = [...typeRecords(types)]
  if (records.some(({ kind }) => kind === LF.TYPESERVER2 || kind === LF.PRECOMP)) return undefined
  const found = symbols.flatMap(({ content, nameAt }) => [...symbolRecords(content)].map((record) => ({ record, nameAt })))
  const reader = new CodeViewTypeReader(records, typedefNames(found.map(({ record }) => record)))
  const prints = new Map<string, string | undefined>()
  const fingerprint = (key: string): string | undefined => {
    if (!prints.has(key)) {
      const definitions = reader.definitions(key)
      prints.set(key, definitions.length === 0 ? undefined : [...new Set(definitions.map(fingerprintOf))].sort().join('\n'))
    }
    return prints.get(key)
  }
  let read: SymbolsRead | undefined
  const symbolsRead = (): SymbolsRead => {
    read ??= readSymbols(found, reader)
    return read
  }
  return {
    format: 'codeview',
    keys: [...reader.keys],
    fingerprint,
    definitions: (key) => reader.definitions(key),
    functions: () => symbolsRead().functions,
    variables: () => symbolsRead().variables,
  }
}

/** The first name that a typedef gives to a type. */
function typedefNames(records: readonly CodeViewRecord[]): Map<number, string> {
  const names = new Map<number, string>()
  for (const { kind, data } of records) {
    if (kind !== S.UDT) continue
    const fields = new Fields(data)
    const type = fields.u32()
    if (type >= FIRST_INDEX && !names.has(type)) names.set(type, fields.text())
  }
  return names
}

interface Found {
  readonly record: CodeViewRecord
  readonly nameAt: CodeViewSymbols['nameAt']
}

interface SymbolsRead {
  readonly functions: readonly FunctionInfo[]
  readonly variables: readonly VariableInfo[]
}

/** Where type, place and name stand in records of variables: bytes before the type, bytes between it and the name. */
const VARIABLES: Readonly<
  Record<number, { readonly before: number; readonly between: number; readonly storage: VariableInfo['storage'] }>
> = {
  [S.LDATA32]: { before: 0, between: 6, storage: 'static' },
  [S.GDATA32]: { before: 0, between: 6, storage: 'static' },
  [S.LTHREAD32]: { before: 0, between: 6, storage: 'thread' },
  [S.GTHREAD32]: { before: 0, between: 6, storage: 'thread' },
  [S.REGREL32]: { before: 4, between: 2, storage: 'frame' },
  [S.BPREL32]: { before: 4, between: 0, storage: 'frame' },
  [S.REGISTER]: { before: 0, between: 2, storage: 'frame' },
  [S.LOCAL]: { before: 0, between: 2, storage: 'frame' },
}

const PROCEDURES: ReadonlySet<number> = new Set([S.LPROC32, S.GPROC32, S.LPROC32_ID, S.GPROC32_ID])
const EXTERNAL: ReadonlySet<number> = new Set([S.GPROC32, S.GPROC32_ID])
const OPENS: ReadonlySet<number> = new Set([...PROCEDURES, S.BLOCK32, S.INLINESITE])
const CLOSES: ReadonlySet<number> = new Set([S.END, S.INLINESITE_END, S.PROC_ID_END])

/** Of a procedure: its type stands behind six words, its place behind that. */
const PROCEDURE_TYPE = 24
const PROCEDURE_PLACE = 28
const PROCEDURE_NAME = 35

function readSymbols(found: readonly Found[], reader: CodeViewTypeReader): SymbolsRead {
  const functions: FunctionInfo[] = []
  const variables: VariableInfo[] = []
  let depth = 0
  let inside: VariableInfo[] | undefined
  for (const { record, nameAt } of found) {
    const { kind, data, offset } = record
    const variable = VARIABLES[kind]
    if (variable !== undefined) {
      const read = readVariable(record, variable, reader)
      inside?.push(read)
      if (read.storage === 'static' || read.storage === 'thread') variables.push(read)
    }
    if (PROCEDURES.has(kind)) {
      const type = reader.functionType(new Fields(data, PROCEDURE_TYPE).u32())
      const own: VariableInfo[] = []
      inside = own
      depth = 0
      const name = nameAt(offset + PROCEDURE_PLACE) ?? new Fields(data, PROCEDURE_NAME).text()
      if (type !== undefined) functions.push({ name, type, external: EXTERNAL.has(kind), code: true, variables: () => own })
    }
    if (OPENS.has(kind)) depth += 1
    if (CLOSES.has(kind) && --depth <= 0) inside = undefined
  }
  return { functions, variables }
}

function readVariable(
  { kind, data }: CodeViewRecord,
  { before, between, storage }: (typeof VARIABLES)[number],
  reader: CodeViewTypeReader,
): VariableInfo {
  const fields = new Fields(data, before)
  const type = reader.ref(fields.u32(), 0)
  const isParameter = kind === S.LOCAL && (fields.u16() & 1) !== 0
  fields.at += kind === S.LOCAL ? 0 : between
  return { name: fields.text(), type, storage: isParameter ? 'parameter' : storage, declared: false }
}
