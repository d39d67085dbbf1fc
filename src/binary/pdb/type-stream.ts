/** The type stream (TPI) and the id stream (IPI) of a PDB: CodeView's type records, one behind the other. */
import { HotpatchError } from '../../errors.ts'
import { type CodeViewRecord, recordsIn } from '../codeview/records.ts'
import { FIRST_INDEX } from '../codeview/type-definitions.ts'
import { slice } from '../struct.ts'
import { TPI_VERSION_V80, TpiHeader } from './definitions.ts'

/**
 * The records by their indices from 0x1000; none where the PDB has no such stream.
 * @param what the stream's name, for errors
 * Throws TRUNCATED, MALFORMED, FORMAT_UNKNOWN (types of a compiler before 2004).
 */
export function readTypeStream(stream: Uint8Array | undefined, what: string): CodeViewRecord[] {
  if (stream === undefined || stream.length === 0) return []
  const { Version, HeaderSize, TypeIndexBegin, TypeIndexEnd, TypeRecordBytes } = TpiHeader.readAt(stream, 0)
  if (Version !== TPI_VERSION_V80) throw new HotpatchError('FORMAT_UNKNOWN', `${what} has version ${Version}, not ${TPI_VERSION_V80}`)
  if (TypeIndexBegin !== FIRST_INDEX)
    throw new HotpatchError('MALFORMED', `the indices of ${what} begin with 0x${TypeIndexBegin.toString(16)}, not with 0x1000`)
  const records = [...recordsIn(slice(stream, HeaderSize, TypeRecordBytes, `the records of ${what}`), 0, TypeRecordBytes, what)]
  if (records.length !== TypeIndexEnd - TypeIndexBegin)
    throw new HotpatchError('MALFORMED', `${what} announces ${TypeIndexEnd - TypeIndexBegin} records and has ${records.length}`)
  return records
}
