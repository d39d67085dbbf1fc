/** The CodeView record of an image's debug directory: which PDB belongs to it. */
import { cstring, type Of, slice, struct, u8, u16, u32 } from '../struct.ts'

/** `RSDS`, little-endian. */
const CV_SIGNATURE_RSDS = 0x53445352

/** CV_INFO_PDB70; the PDB's path follows, zero-terminated UTF-8. The GUID is spelled out as windows.h has it. */
const CvInfoPdb70 = struct('CV_INFO_PDB70', {
  CvSignature: u32,
  Data1: u32,
  Data2: u16,
  Data3: u16,
  Data4_0: u8,
  Data4_1: u8,
  Data4_2: u8,
  Data4_3: u8,
  Data4_4: u8,
  Data4_5: u8,
  Data4_6: u8,
  Data4_7: u8,
  Age: u32,
})

export interface Rsds {
  /** 32 hexadecimal digits in the order a GUID is written, upper case, without braces and dashes. */
  readonly guid: string
  readonly age: number
  readonly pdbPath: string
}

const hex = (value: number, bytes: number): string =>
  value
    .toString(16)
    .toUpperCase()
    .padStart(bytes * 2, '0')

/** undefined: a CodeView record of another (older) kind. Throws TRUNCATED. */
export function readRsds(data: Uint8Array): Rsds | undefined {
  if (data.length < 4 || u32At(data) !== CV_SIGNATURE_RSDS) return undefined
  const info = CvInfoPdb70.readAt(data, 0)
  // Some writers leave out the terminating zero when the record ends with the path.
  const path = slice(data, CvInfoPdb70.size, data.length - CvInfoPdb70.size, 'the path of the PDB')
  return {
    guid: hex(info.Data1, 4) + hex(info.Data2, 2) + hex(info.Data3, 2) + tail(info),
    age: info.Age,
    pdbPath: path.includes(0)
      ? Buffer.from(cstring(path, 0, 'the path of the PDB'), 'latin1').toString('utf8')
      : Buffer.from(path).toString('utf8'),
  }
}

const u32At = (data: Uint8Array): number => u32.read(new DataView(data.buffer, data.byteOffset, data.byteLength), 0)

const tail = (info: Of<typeof CvInfoPdb70>): string =>
  [info.Data4_0, info.Data4_1, info.Data4_2, info.Data4_3, info.Data4_4, info.Data4_5, info.Data4_6, info.Data4_7]
    .map((byte) => hex(byte, 1))
    .join('')

/** How symbol servers name the pair: the GUID's digits and the age in hexadecimal without leading zeros. */
export const symbolServerId = (rsds: Rsds): string => `${rsds.guid}${rsds.age.toString(16).toUpperCase()}`
