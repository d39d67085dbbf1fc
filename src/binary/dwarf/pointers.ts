/** Pointers as .eh_frame encodes them: a format in the low 4 bits, what they count from in the next 3 (LSB, "DWARF Extensions"). */
import { HotpatchError } from '../../errors.ts'
import type { Cursor } from './cursor.ts'

export const DW_EH_PE = {
  absptr: 0x00,
  uleb128: 0x01,
  udata2: 0x02,
  udata4: 0x03,
  udata8: 0x04,
  sleb128: 0x09,
  sdata2: 0x0a,
  sdata4: 0x0b,
  sdata8: 0x0c,
  pcrel: 0x10,
  textrel: 0x20,
  datarel: 0x30,
  funcrel: 0x40,
  aligned: 0x50,
  /** The pointer's target holds the address. */
  indirect: 0x80,
  /** No pointer is there at all. */
  omit: 0xff,
} as const

/** A pointer's place and, where the file is linked, what stands in it. */
export interface EncodedPointer {
  /** Of the field, from the start of the section. */
  readonly offset: number
  /** Bytes. */
  readonly size: number
  /** DW_EH_PE. */
  readonly encoding: number
  /** As it stands in the file, sign-extended where the format is signed; not yet made an address. */
  readonly value: bigint
}

const FORMAT = 0x0f
const APPLICATION = 0x70

/** Reads the pointer at the cursor. Throws TRUNCATED, MALFORMED for formats that nothing emits. */
export function readPointer(cursor: Cursor, encoding: number): EncodedPointer {
  const offset = cursor.at
  const value = readValue(cursor, encoding)
  return { offset, size: cursor.at - offset, encoding, value }
}

function readValue(cursor: Cursor, encoding: number): bigint {
  switch (encoding & FORMAT) {
    case DW_EH_PE.absptr:
    case DW_EH_PE.udata8:
      return cursor.u64()
    case DW_EH_PE.sdata8:
      return cursor.i64()
    case DW_EH_PE.udata2:
      return BigInt(cursor.u16())
    case DW_EH_PE.udata4:
      return BigInt(cursor.u32())
    case DW_EH_PE.sdata2:
      return BigInt(cursor.i16())
    case DW_EH_PE.sdata4:
      return BigInt(cursor.i32())
    case DW_EH_PE.uleb128:
      return BigInt(cursor.uleb())
    case DW_EH_PE.sleb128:
      return BigInt(cursor.sleb())
    default:
      throw new HotpatchError('MALFORMED', `a pointer of unwind data has the unknown encoding 0x${encoding.toString(16)}`)
  }
}

/**
 * The address that a pointer of a linked section stands for; an indirect one gives the address of the slot.
 * undefined: what it counts from is not known here (textrel, datarel, funcrel), or the field is 0, which means "none".
 */
export function pointerAddress(pointer: EncodedPointer, sectionAddress: bigint): bigint | undefined {
  if (pointer.value === 0n) return undefined
  switch (pointer.encoding & APPLICATION) {
    case DW_EH_PE.absptr:
      return BigInt.asUintN(64, pointer.value)
    case DW_EH_PE.pcrel:
      return BigInt.asUintN(64, sectionAddress + BigInt(pointer.offset) + pointer.value)
    default:
      return undefined
  }
}
