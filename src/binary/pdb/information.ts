/** The information stream: what tells this PDB from every other. */
import { HotpatchError } from '../../errors.ts'
import { guidText } from '../codeview/guid.ts'
import { PDB_STREAM, PdbInfoHeader } from './definitions.ts'
import type { Msf } from './msf.ts'

export interface PdbInformation {
  /** As readRsds gives it: 32 hexadecimal digits in the order a GUID is written, upper case. */
  readonly guid: string
  /** How often it was written. */
  readonly age: number
}

/** A PDB in words that tell it from every other. */
export const pdbIdentity = ({ guid, age }: PdbInformation): string => `the PDB ${guid} of age ${age}`

/** Throws MALFORMED (no such stream), TRUNCATED. */
export function requiredStream(msf: Msf, index: number, what: string): Uint8Array {
  const found = msf.stream(index)
  if (found === undefined) throw new HotpatchError('MALFORMED', `the PDB has no ${what} (stream ${index})`)
  return found
}

/** Throws TRUNCATED, MALFORMED. */
export function readInformation(msf: Msf): PdbInformation {
  const info = PdbInfoHeader.readAt(requiredStream(msf, PDB_STREAM.INFO, 'information stream'), 0)
  return { guid: guidText(info.Guid), age: info.Age }
}
