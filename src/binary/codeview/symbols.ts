/** Functions and variables of CodeView's symbol records. */
import type { FunctionInfo, VariableInfo } from '../types/model.ts'
import { type CodeViewRecord, Fields } from './records.ts'
import { FIRST_INDEX, S } from './type-definitions.ts'
import type { CodeViewTypeReader } from './type-reader.ts'
import { addTo, type TypeRecords } from './type-records.ts'

/** Symbol records in their order, and who of them is called what by the linker. */
export interface Symbols {
  readonly records: readonly CodeViewRecord[]
  /** Of a procedure; undefined: what the record itself says, the source's name. */
  linkerName(procedure: CodeViewRecord): string | undefined
}

export interface SymbolsRead {
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
  // A static one that optimised code keeps in registers.
  [S.FILESTATIC]: { before: 0, between: 6, storage: 'static' },
  [S.REGREL32]: { before: 4, between: 2, storage: 'frame' },
  [S.REGREL32_INDIR]: { before: 4, between: 6, storage: 'frame' },
  [S.BPREL32]: { before: 4, between: 0, storage: 'frame' },
  [S.REGISTER]: { before: 0, between: 2, storage: 'frame' },
  [S.LOCAL]: { before: 0, between: 2, storage: 'frame' },
}

/** By item in objects, by type in PDBs that a linker has written. */
const BY_ITEM: ReadonlySet<number> = new Set([S.LPROC32_ID, S.GPROC32_ID])
const PROCEDURES: ReadonlySet<number> = new Set([S.LPROC32, S.GPROC32, ...BY_ITEM])
const EXTERNAL: ReadonlySet<number> = new Set([S.GPROC32, S.GPROC32_ID])
const OPENS: ReadonlySet<number> = new Set([...PROCEDURES, S.THUNK32, S.SEPCODE, S.BLOCK32, S.INLINESITE, S.INLINESITE2])
const CLOSES: ReadonlySet<number> = new Set([S.END, S.INLINESITE_END, S.PROC_ID_END])

/** Of a procedure: its type stands behind six words, its place behind that. */
const PROCEDURE_TYPE = 24
export const PROCEDURE_PLACE = 28
const PROCEDURE_NAME = 35

/** Throws TRUNCATED, MALFORMED. */
export function readSymbols({ records, linkerName }: Symbols, reader: CodeViewTypeReader): SymbolsRead {
  const functions: FunctionInfo[] = []
  const variables: VariableInfo[] = []
  let depth = 0
  let inside: VariableInfo[] | undefined
  for (const record of records) {
    const { kind, data } = record
    const variable = VARIABLES[kind]
    if (variable !== undefined) {
      const read = readVariable(record, variable, reader)
      inside?.push(read)
      if (read.storage === 'static' || read.storage === 'thread') variables.push(read)
    }
    if (PROCEDURES.has(kind)) {
      const index = new Fields(data, PROCEDURE_TYPE).u32()
      const type = BY_ITEM.has(kind) ? reader.typeOfFunctionItem(index) : reader.functionType(index)
      const own: VariableInfo[] = []
      inside = own
      depth = 0
      const name = linkerName(record) ?? new Fields(data, PROCEDURE_NAME).text()
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

/** What typedefs call the types, in the order of the symbols; then what records among the types do. */
export function typedefNames(symbols: Iterable<CodeViewRecord>, records: TypeRecords): Map<number, string[]> {
  const names = new Map<number, string[]>()
  for (const { kind, data } of symbols) {
    if (kind !== S.UDT) continue
    const fields = new Fields(data)
    const type = fields.u32()
    if (type < FIRST_INDEX) continue
    const name = fields.text()
    if (!names.get(type)?.includes(name)) addTo(names, type, name)
  }
  for (const [type, name] of records.aliases) if (!names.has(type)) addTo(names, type, name)
  return names
}
