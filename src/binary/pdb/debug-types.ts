/**
 * What a linker's PDB says about types, functions and variables. The linker keeps equal types of all modules once and does not say whose they
 * were; functions, their variables and static ones are told by module, global ones not.
 */
import { debugTypes } from '../codeview/debug-types.ts'
import type { CodeViewRecord } from '../codeview/records.ts'
import { PROCEDURE_PLACE, PROCEDURES, typedefNames } from '../codeview/symbols.ts'
import { S } from '../codeview/type-definitions.ts'
import { typeTable } from '../codeview/type-table.ts'
import { viewOf } from '../struct.ts'
import type { DebugTypes } from '../types/model.ts'
import { pdbIdentity } from './information.ts'
import type { Pdb, PdbModule } from './reader.ts'

const GLOBAL_DATA: ReadonlySet<number> = new Set([S.GDATA32, S.LDATA32, S.GTHREAD32, S.LTHREAD32])

/** One for all modules: gives what it says of one of them. Throws TRUNCATED, MALFORMED, FORMAT_UNKNOWN, as everything that it gives. */
export function pdbTypes(pdb: Pdb, modules: readonly PdbModule[]): (module: PdbModule) => DebugTypes {
  const globals = pdb.globalRecords()
  const records = pdb.types()
  // An unnamed type has the names that any module gives it: they are written where each is first seen.
  const table = typeTable(records, typedefNames([...globals, ...modules.flatMap((module) => module.records)], records))
  const data = globals.filter(({ kind }) => GLOBAL_DATA.has(kind))
  const names = new Map(
    pdb.globals().flatMap(({ scope, segment, offset, name }) => (scope === 'public' ? [[`${segment}:${offset}`, name]] : [])),
  )
  return (module) =>
    debugTypes(table, pdbIdentity(pdb), {
      records: [...data, ...module.records],
      linkerName: (procedure) => names.get(placeOf(procedure)),
    })
}

/** Where a procedure lies, as the public symbols say it. A record too short for that is for the reader of symbols to refuse. */
function placeOf({ kind, data }: CodeViewRecord): string {
  if (!PROCEDURES.has(kind) || data.length < PROCEDURE_PLACE + 6) return ''
  const view = viewOf(data)
  return `${view.getUint16(PROCEDURE_PLACE + 4, true)}:${view.getUint32(PROCEDURE_PLACE, true)}`
}
