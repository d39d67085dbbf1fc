/** Records of an ARM64 exception directory, packed or with .xdata, read alike. */
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import { readPackedArm64, unpack } from './packed-arm64.ts'
import { ARM64_FLAG, type Arm64Record, Arm64RuntimeFunction, type Arm64Unwind, readXdataArm64 } from './unwind-arm64.ts'

type ReadRva = (rva: number, length: number) => Uint8Array

const flagOf = ({ UnwindData }: Arm64Record): number => UnwindData & 3

/** Throws MALFORMED, and what `read` throws. */
export function arm64UnwindOf(record: Arm64Record, read: ReadRva): Arm64Unwind {
  switch (flagOf(record)) {
    case ARM64_FLAG.XDATA:
      return readXdataArm64(read, record.UnwindData)
    case ARM64_FLAG.PACKED:
    case ARM64_FLAG.PACKED_FRAGMENT:
      return readPackedArm64(record)
    default:
      throw new HotpatchError('MALFORMED', `the record of the function at RVA 0x${record.BeginAddress.toString(16)} is of a reserved kind`)
  }
}

/** Bytes of the function (part). Throws as `arm64UnwindOf`. */
export function arm64Extent(record: Arm64Record, read: ReadRva): number {
  if (flagOf(record) === ARM64_FLAG.XDATA) return (viewOf(read(record.UnwindData, 4)).getUint32(0, true) & 0x3ffff) * 4
  return unpack(record.UnwindData).functionLength
}

export function arm64Records(table: Uint8Array): Arm64Record[] {
  return Arm64RuntimeFunction.readMany(table, 0, Math.floor(table.length / Arm64RuntimeFunction.size))
}
