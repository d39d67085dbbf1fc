/** Types by name, as debug information of CodeView has them: of one object, or of a PDB that many share. */
import { fingerprintOf } from '../types/fingerprint.ts'
import type { DebugTypes } from '../types/model.ts'
import { CodeViewTypeReader, type TypedefNames } from './type-reader.ts'
import type { TypeRecords } from './type-records.ts'

export interface TypeTable extends Pick<DebugTypes, 'keys' | 'fingerprint' | 'definitions'> {
  readonly reader: CodeViewTypeReader
}

/** Throws TRUNCATED, MALFORMED, as everything in it. */
export function typeTable(records: TypeRecords, typedefNames: TypedefNames): TypeTable {
  const reader = new CodeViewTypeReader(records, typedefNames)
  const prints = new Map<string, string | undefined>()
  const fingerprint = (key: string): string | undefined => {
    if (!prints.has(key)) {
      const definitions = reader.definitions(key)
      prints.set(key, definitions.length === 0 ? undefined : [...new Set(definitions.map(fingerprintOf))].sort().join('\n'))
    }
    return prints.get(key)
  }
  return { reader, keys: reader.keys, fingerprint, definitions: (key) => reader.definitions(key) }
}
