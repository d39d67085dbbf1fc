/** Forms: how attributes are encoded (DWARF 5, 7.5.5). */
import { HotpatchError } from '../../errors.ts'
import type { Cursor } from './cursor.ts'
import { DW_FORM } from './debug-info-definitions.ts'

/** What sizes of forms depend on. */
export interface UnitFormat {
  readonly version: number
  /** 4 or 8 bytes: the 32-bit or the 64-bit format. */
  readonly offsetSize: number
  /** Bytes. */
  readonly addressSize: number
}

const FIXED: ReadonlyMap<number, number> = new Map([
  [DW_FORM.data1, 1],
  [DW_FORM.data2, 2],
  [DW_FORM.data4, 4],
  [DW_FORM.data8, 8],
  [DW_FORM.data16, 16],
  [DW_FORM.flag, 1],
  [DW_FORM.flag_present, 0],
  [DW_FORM.implicit_const, 0],
  [DW_FORM.ref1, 1],
  [DW_FORM.ref2, 2],
  [DW_FORM.ref4, 4],
  [DW_FORM.ref8, 8],
  [DW_FORM.ref_sig8, 8],
  [DW_FORM.ref_sup4, 4],
  [DW_FORM.ref_sup8, 8],
  [DW_FORM.strx1, 1],
  [DW_FORM.strx2, 2],
  [DW_FORM.strx3, 3],
  [DW_FORM.strx4, 4],
  [DW_FORM.addrx1, 1],
  [DW_FORM.addrx2, 2],
  [DW_FORM.addrx3, 3],
  [DW_FORM.addrx4, 4],
])

const OFFSETS: ReadonlySet<number> = new Set([
  DW_FORM.strp,
  DW_FORM.line_strp,
  DW_FORM.sec_offset,
  DW_FORM.strp_sup,
  DW_FORM.GNU_ref_alt,
  DW_FORM.GNU_strp_alt,
])

/** Bytes of an attribute of this form; undefined: it says itself. */
export function fixedSize(form: number, { version, offsetSize, addressSize }: UnitFormat): number | undefined {
  if (form === DW_FORM.addr) return addressSize
  // An address in DWARF 2.
  if (form === DW_FORM.ref_addr) return version <= 2 ? addressSize : offsetSize
  return OFFSETS.has(form) ? offsetSize : FIXED.get(form)
}

/** Moves behind an attribute. Throws TRUNCATED, MALFORMED for forms that are unknown. */
export function passForm(cursor: Cursor, form: number, format: UnitFormat): void {
  const size = fixedSize(form, format)
  if (size !== undefined) {
    cursor.skip(size)
    return
  }
  switch (form) {
    case DW_FORM.sdata:
    case DW_FORM.udata:
    case DW_FORM.ref_udata:
    case DW_FORM.strx:
    case DW_FORM.addrx:
    case DW_FORM.loclistx:
    case DW_FORM.rnglistx:
    case DW_FORM.GNU_addr_index:
    case DW_FORM.GNU_str_index:
      cursor.skipLeb()
      return
    case DW_FORM.block1:
      cursor.skip(cursor.u8())
      return
    case DW_FORM.block2:
      cursor.skip(cursor.u16())
      return
    case DW_FORM.block4:
      cursor.skip(cursor.u32())
      return
    case DW_FORM.block:
    case DW_FORM.exprloc:
      cursor.skip(cursor.uleb())
      return
    case DW_FORM.string:
      cursor.skipString()
      return
    case DW_FORM.indirect:
      passForm(cursor, directForm(cursor), format)
      return
    default:
      throw unknownForm(form)
  }
}

/** The form that DW_FORM_indirect announces, which is not itself again: no file could make reading endless by it. */
export function directForm(cursor: Cursor): number {
  const form = cursor.uleb()
  if (form === DW_FORM.indirect || form === DW_FORM.implicit_const) throw unknownForm(form)
  return form
}

export const unknownForm = (form: number): HotpatchError =>
  new HotpatchError('MALFORMED', `an attribute of the debug information has the unknown form 0x${form.toString(16)}`)

/** An offset into another section, or a length. */
export const readOffset = (cursor: Cursor, { offsetSize }: UnitFormat): number => (offsetSize === 4 ? cursor.u32() : toNumber(cursor.u64()))

export function toNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new HotpatchError('MALFORMED', 'an offset of the debug information is beyond 2^53')
  return Number(value)
}

/**
 * A constant; undefined for forms of other classes. Values beyond 2^53 lose their low bits.
 * Constants of fixed size are taken as unsigned, as compilers mean them where they say nothing else.
 */
export function readConstant(cursor: Cursor, form: number, implicit: number): number | undefined {
  switch (form) {
    case DW_FORM.data1:
      return cursor.u8()
    case DW_FORM.data2:
      return cursor.u16()
    case DW_FORM.data4:
      return cursor.u32()
    case DW_FORM.data8:
      return Number(cursor.u64())
    case DW_FORM.udata:
      return cursor.looseUleb()
    case DW_FORM.sdata:
      return cursor.looseSleb()
    case DW_FORM.implicit_const:
      return implicit
    default:
      return undefined
  }
}
