/**
 * What a linker's PDB says about types, functions and variables. The linker keeps equal types of all modules once and does not say whose they
 * were; functions and variables are told by module.
 */
import { debugTypes } from '../codeview/debug-types.ts'
import type { CodeViewRecord } from '../codeview/records.ts'
import { PROCEDURE_PLACE, typedefNames } from '../codeview/symbols.ts'
import { S } from '../codeview/type-definitions.ts'
import { addTo } from '../codeview/type-records.ts'
import { typeTable } from '../codeview/type-table.ts'
import { viewOf } from '../struct.ts'
import type { DebugTypes } from '../types/model.ts'
import { ownersOf } from './contributions.ts'
import { pdbIdentity } from './information.ts'
import type { Pdb, PdbModule } from './reader.ts'

/** One for all modules: gives what it says of one of them. Throws TRUNCATED, MALFORMED, FORMAT_UNKNOWN, as everything that it gives. */
export function pdbTypes(pdb: Pdb, modules: readonly PdbModule[]): (module: PdbModule) => DebugTypes {
  const globals = pdb.globalRecords()
  const records = pdb.types()
  // An unnamed type has the names that any module gives it: they are written where each is first seen.
  const table = typeTable(records, typedefNames([...globals, ...modules.flatMap((module) => module.records)], records))
  const data = globalData(globals, pdb, modules)
  const names = new Map(
    pdb.globals().flatMap(({ scope, segment, offset, name }) => (scope === 'public' ? [[keyOf({ segment, offset }), name]] : [])),
  )
  return (module) =>
    debugTypes(table, pdbIdentity(pdb), {
      records: [...(data.get(module) ?? []), ...(data.get(undefined) ?? []), ...module.records],
      linkerName: (procedure) => names.get(keyOf(placeAt(procedure, PROCEDURE_PLACE))),
    })
}

const GLOBAL_DATA: ReadonlySet<number> = new Set([S.GDATA32, S.LDATA32, S.GTHREAD32, S.LTHREAD32])
const DATA_PLACE = 4

/** Variables that stand among the global symbols, by the module that has put them into the image; by undefined, what may be of any. */
function globalData(
  globals: readonly CodeViewRecord[],
  pdb: Pdb,
  modules: readonly PdbModule[],
): ReadonlyMap<PdbModule | undefined, readonly CodeViewRecord[]> {
  const ownerOf = ownersOf(pdb.contributions())
  const found = new Map<PdbModule | undefined, CodeViewRecord[]>()
  for (const record of globals) {
    if (!GLOBAL_DATA.has(record.kind)) continue
    const { segment, offset } = placeAt(record, DATA_PLACE)
    const owner = modules[ownerOf(segment, offset) ?? -1]
    // What several modules have declared without a value, the linker has made.
    addTo(found, owner?.name.startsWith('* ') ? undefined : owner, record)
  }
  return found
}

interface Place {
  readonly segment: number
  readonly offset: number
}

const keyOf = ({ segment, offset }: Place): string => `${segment}:${offset}`

/** Where something lies, as its symbol says it. A record that is too short is for the reader of symbols to refuse. */
function placeAt({ data }: CodeViewRecord, at: number): Place {
  if (data.length < at + 6) return { segment: 0, offset: 0 }
  const view = viewOf(data)
  return { segment: view.getUint16(at + 4, true), offset: view.getUint32(at, true) }
}
