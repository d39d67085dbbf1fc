/** A PDB that compilers write (`/Zi`: vc140.pdb): the types of many objects, and nothing of an image. */
import { type CodeViewSymbols, debugTypes, symbolsOf } from '../codeview/debug-types.ts'
import { typedefNames } from '../codeview/symbols.ts'
import type { TypedefNames } from '../codeview/type-reader.ts'
import { TypeRecords } from '../codeview/type-records.ts'
import { type TypeTable, typeTable } from '../codeview/type-table.ts'
import type { DebugTypes } from '../types/model.ts'
import { PDB_STREAM } from './definitions.ts'
import { type PdbInformation, pdbIdentity, readInformation } from './information.ts'
import { type Msf, readMsf } from './msf.ts'
import { readTypeStream } from './type-stream.ts'

export interface TypeServer extends PdbInformation {
  /** What an object says whose types are here, by its `.debug$S`. Throws TRUNCATED, MALFORMED, FORMAT_UNKNOWN, as everything that it gives. */
  of(symbols: readonly CodeViewSymbols[]): DebugTypes
}

/** Throws FORMAT_UNKNOWN, TRUNCATED, MALFORMED. */
export function readTypeServer(data: Uint8Array): TypeServer {
  const msf = readMsf(data)
  const information = readInformation(msf)
  let records: TypeRecords | undefined
  // Objects that call unnamed types the same have the same types.
  const tables = new Map<string, TypeTable>()
  return {
    ...information,
    of(sections) {
      records ??= readTypeRecords(msf)
      const symbols = symbolsOf(sections)
      const names = onlyUnnamed(typedefNames(symbols.records, records), records)
      const key = JSON.stringify([...names])
      const table = tables.get(key) ?? typeTable(records, names)
      tables.set(key, table)
      return debugTypes(table, pdbIdentity(information), symbols)
    },
  }
}

/** Typedefs of types that have a name of their own say nothing more. */
const onlyUnnamed = (names: TypedefNames, records: TypeRecords): TypedefNames =>
  new Map([...names].filter(([index]) => records.head(index)?.name === undefined))

/** The types of any PDB. Throws TRUNCATED, MALFORMED, FORMAT_UNKNOWN. */
export const readTypeRecords = (msf: Msf): TypeRecords =>
  new TypeRecords(
    readTypeStream(msf.stream(PDB_STREAM.TPI), 'the type stream of the PDB'),
    readTypeStream(msf.stream(PDB_STREAM.IPI), 'the id stream of the PDB'),
  )

/** Whether a linker has written it for an image; else it is one of compilers. Throws TRUNCATED, MALFORMED. */
export const hasImage = (data: Uint8Array): boolean => (readMsf(data).stream(PDB_STREAM.DBI) ?? []).length > 0
