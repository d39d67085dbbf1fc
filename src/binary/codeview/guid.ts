import { bytes, type Of, struct, u16, u32 } from '../struct.ts'

/** A GUID as windows.h has it, little-endian. */
export const Guid = struct('GUID', { Data1: u32, Data2: u16, Data3: u16, Data4: bytes(8) })

const hex = (value: number, digits: number): string => value.toString(16).toUpperCase().padStart(digits, '0')

/** 32 hexadecimal digits in the order a GUID is written, upper case, without braces and dashes. */
export const guidText = ({ Data1, Data2, Data3, Data4 }: Of<typeof Guid>): string =>
  hex(Data1, 8) + hex(Data2, 4) + hex(Data3, 4) + Buffer.from(Data4).toString('hex').toUpperCase()
