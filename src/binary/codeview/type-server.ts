/** How an object says that its types are in a PDB: LF_TYPESERVER2, the only type record of what `/Zi` compiles. */
import { cstring, struct, u32 } from '../struct.ts'
import { Guid, guidText } from './guid.ts'
import { typeRecords } from './records.ts'
import { LF } from './type-definitions.ts'

/** lfTypeServer2 of cvinfo.h; the PDB's path follows, zero-terminated UTF-8. */
const TypeServer2 = struct('LF_TYPESERVER2', { Signature: Guid, Age: u32 })

export interface TypeServerReference {
  /** As readRsds gives it. */
  readonly guid: string
  /** How often the PDB had been written when the object was compiled: it only ever grows, and so does this number. */
  readonly age: number
  /** As the compiler had it, mostly whole and of Windows: `C:\build\vc140.pdb`. */
  readonly path: string
}

/** @param types `.debug$T`. undefined: the types are in the object, or in none that has a GUID. Throws TRUNCATED, MALFORMED. */
export function typeServerOf(types: Uint8Array): TypeServerReference | undefined {
  for (const { kind, data } of typeRecords(types)) {
    if (kind !== LF.TYPESERVER2) continue
    const { Signature, Age } = TypeServer2.readAt(data, 0)
    const path = Buffer.from(cstring(data, TypeServer2.size, 'the path of the type server'), 'latin1').toString('utf8')
    return { guid: guidText(Signature), age: Age, path }
  }
  return undefined
}
