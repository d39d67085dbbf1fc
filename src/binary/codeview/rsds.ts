/** The CodeView record of an image's debug directory: which PDB belongs to it. */
import { cstring, slice, struct, u32 } from '../struct.ts'
import { Guid, guidText } from './guid.ts'

/** `RSDS`, little-endian. */
const CV_SIGNATURE_RSDS = 0x53445352

/** CV_INFO_PDB70; the PDB's path follows, zero-terminated UTF-8. */
const CvInfoPdb70 = struct('CV_INFO_PDB70', {
  CvSignature: u32,
  Signature: Guid,
  Age: u32,
})

export interface Rsds {
  /** 32 hexadecimal digits in the order a GUID is written, upper case, without braces and dashes. */
  readonly guid: string
  readonly age: number
  readonly pdbPath: string
}

/** undefined: a CodeView record of another (older) kind. Throws TRUNCATED. */
export function readRsds(data: Uint8Array): Rsds | undefined {
  if (data.length < 4 || u32At(data) !== CV_SIGNATURE_RSDS) return undefined
  const info = CvInfoPdb70.readAt(data, 0)
  // Some writers leave out the terminating zero when the record ends with the path.
  const path = slice(data, CvInfoPdb70.size, data.length - CvInfoPdb70.size, 'the path of the PDB')
  return {
    guid: guidText(info.Signature),
    age: info.Age,
    pdbPath: path.includes(0)
      ? Buffer.from(cstring(path, 0, 'the path of the PDB'), 'latin1').toString('utf8')
      : Buffer.from(path).toString('utf8'),
  }
}

const u32At = (data: Uint8Array): number => u32.read(new DataView(data.buffer, data.byteOffset, data.byteLength), 0)

/** How symbol servers name the pair: the GUID's digits and the age in hexadecimal without leading zeros. */
export const symbolServerId = (rsds: Rsds): string => `${rsds.guid}${rsds.age.toString(16).toUpperCase()}`
