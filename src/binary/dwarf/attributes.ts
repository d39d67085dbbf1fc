/** How the attributes that are kept become columns of a row. */
import { HotpatchError } from '../../errors.ts'
import { Cursor } from './cursor.ts'
import { type Column, DIE_FLAGS, handleOf, STRING_HOMES } from './debug-info-columns.ts'
import { DW_AT, DW_FORM, DW_OP } from './debug-info-definitions.ts'
import { passForm, readConstant, readOffset, toNumber, type UnitFormat } from './forms.ts'

export interface AttributeContext extends UnitFormat {
  readonly cursor: Cursor
  /** What references within the unit count from, as a place. */
  readonly base: number
  /** Place of the section in which the unit lies. */
  readonly sectionBase: number
  readonly strOffsets: Uint8Array
  /** Of the unit's part of it. */
  strOffsetsBase: number
}

/** Takes what attributes say of the entry that is being read. */
export interface RowWriter {
  set(column: Column, value: number | undefined): void
  flag(flag: number): void
  /** The place that the type of a type unit has is known when all units are read. */
  refer(column: Column, signature: bigint): void
}

type Kind =
  | 'string'
  | 'reference'
  | 'constant'
  /** A constant, or an expression that does no more than add one. */
  | 'offset'
  /** The greatest index of an array. */
  | 'bound'
  | 'location'
  | 'flag'
  /** That it is there is all that counts. */
  | 'presence'
  /** Looked for before the others are read. */
  | 'unit'

interface Attribute {
  readonly kind: Kind
  readonly column?: Column
  readonly flag?: number
}

export const ATTRIBUTES: ReadonlyMap<number, Attribute> = new Map<number, Attribute>([
  [DW_AT.name, { kind: 'string', column: 'name' }],
  [DW_AT.linkage_name, { kind: 'string', column: 'linkageName' }],
  [DW_AT.MIPS_linkage_name, { kind: 'string', column: 'linkageName' }],
  [DW_AT.type, { kind: 'reference', column: 'type' }],
  [DW_AT.abstract_origin, { kind: 'reference', column: 'origin' }],
  [DW_AT.specification, { kind: 'reference', column: 'origin' }],
  [DW_AT.signature, { kind: 'reference', column: 'signature' }],
  [DW_AT.byte_size, { kind: 'constant', column: 'size' }],
  [DW_AT.bit_size, { kind: 'constant', column: 'bitSize' }],
  [DW_AT.bit_offset, { kind: 'constant', column: 'bitOffset' }],
  [DW_AT.data_bit_offset, { kind: 'constant', column: 'dataBitOffset' }],
  [DW_AT.encoding, { kind: 'constant', column: 'encoding' }],
  [DW_AT.const_value, { kind: 'constant', column: 'value' }],
  [DW_AT.count, { kind: 'constant', column: 'value' }],
  [DW_AT.upper_bound, { kind: 'bound', column: 'value' }],
  [DW_AT.data_member_location, { kind: 'offset', column: 'memberLocation' }],
  [DW_AT.vtable_elem_location, { kind: 'offset', column: 'slot' }],
  [DW_AT.location, { kind: 'location' }],
  [DW_AT.declaration, { kind: 'flag', flag: DIE_FLAGS.declaration }],
  [DW_AT.external, { kind: 'flag', flag: DIE_FLAGS.external }],
  [DW_AT.low_pc, { kind: 'presence', flag: DIE_FLAGS.code }],
  [DW_AT.ranges, { kind: 'presence', flag: DIE_FLAGS.code }],
  [DW_AT.str_offsets_base, { kind: 'unit' }],
])

/** Reads one of ATTRIBUTES and moves behind it. Throws TRUNCATED, MALFORMED. */
export function readAttribute(row: RowWriter, attribute: number, form: number, implicit: number, unit: AttributeContext): void {
  const { kind, column, flag } = ATTRIBUTES.get(attribute) as Attribute
  if (kind === 'location') readLocation(row, form, unit)
  else if (kind === 'flag') {
    if (readFlag(form, unit)) row.flag(flag as number)
  } else if (kind === 'presence') {
    row.flag(flag as number)
    passForm(unit.cursor, form, unit)
  } else if (kind === 'unit') passForm(unit.cursor, form, unit)
  else if (kind === 'reference') readReference(row, column as Column, form, unit)
  else row.set(column as Column, readValue(kind, form, implicit, unit))
}

function readValue(
  kind: 'string' | 'constant' | 'offset' | 'bound',
  form: number,
  implicit: number,
  unit: AttributeContext,
): number | undefined {
  switch (kind) {
    case 'string':
      return readString(form, unit)
    case 'constant':
      return constantOrPass(form, implicit, unit)
    case 'offset':
      return constantOrExpression(form, implicit, unit)
    case 'bound': {
      const bound = constantOrPass(form, implicit, unit)
      if (bound === undefined) return undefined
      // gcc says -1, as 64 or 32 bits, for arrays of no elements.
      return bound < 0 || bound >= 0xffffffff ? 0 : bound + 1
    }
  }
}

function constantOrPass(form: number, implicit: number, unit: AttributeContext): number | undefined {
  const value = readConstant(unit.cursor, form, implicit)
  if (value === undefined) passForm(unit.cursor, form, unit)
  return value
}

function constantOrExpression(form: number, implicit: number, unit: AttributeContext): number | undefined {
  const expression = readExpression(unit.cursor, form)
  if (expression === undefined) return constantOrPass(form, implicit, unit)
  if (expression.done) return undefined
  const operation = expression.u8()
  return operation === DW_OP.plus_uconst || operation === DW_OP.constu ? expression.looseUleb() : undefined
}

function readFlag(form: number, unit: AttributeContext): boolean {
  if (form === DW_FORM.flag_present) return true
  if (form === DW_FORM.flag) return unit.cursor.u8() !== 0
  passForm(unit.cursor, form, unit)
  return false
}

function readLocation(row: RowWriter, form: number, unit: AttributeContext): void {
  const expression = readExpression(unit.cursor, form)
  row.flag(DIE_FLAGS.located)
  if (expression === undefined) {
    // A list: frames and registers.
    passForm(unit.cursor, form, unit)
    return
  }
  if (expression.done) return
  const last = expression.data[expression.end - 1]
  if (last === DW_OP.form_tls_address || last === DW_OP.GNU_push_tls_address) {
    row.flag(DIE_FLAGS.thread)
    return
  }
  const operation = expression.u8()
  if (operation === DW_OP.addr || operation === DW_OP.addrx || operation === DW_OP.GNU_addr_index) row.flag(DIE_FLAGS.static)
}

function readReference(row: RowWriter, column: Column, form: number, unit: AttributeContext): void {
  const { cursor, base } = unit
  switch (form) {
    case DW_FORM.ref1:
      row.set(column, base + cursor.u8())
      break
    case DW_FORM.ref2:
      row.set(column, base + cursor.u16())
      break
    case DW_FORM.ref4:
      row.set(column, base + cursor.u32())
      break
    case DW_FORM.ref8:
      row.set(column, base + toNumber(cursor.u64()))
      break
    case DW_FORM.ref_udata:
      row.set(column, base + cursor.uleb())
      break
    case DW_FORM.ref_addr:
      // From the start of .debug_info, the first of them where an object has several. In DWARF 2 it was as wide as an address.
      row.set(column, unit.version <= 2 && unit.addressSize === 8 ? toNumber(cursor.u64()) : readOffset(cursor, unit))
      break
    case DW_FORM.ref_sig8:
      row.refer(column, cursor.u64())
      break
    default:
      passForm(cursor, form, unit)
  }
}

function readString(form: number, unit: AttributeContext): number | undefined {
  const { cursor } = unit
  switch (form) {
    case DW_FORM.string: {
      const at = unit.sectionBase + cursor.at
      cursor.skipString()
      return handleOf(STRING_HOMES.inline, at)
    }
    case DW_FORM.strp:
      return handleOf(STRING_HOMES.str, readOffset(cursor, unit))
    case DW_FORM.line_strp:
      return handleOf(STRING_HOMES.lineStr, readOffset(cursor, unit))
    case DW_FORM.strx:
    case DW_FORM.GNU_str_index:
      return indexedString(cursor.uleb(), unit)
    case DW_FORM.strx1:
      return indexedString(cursor.u8(), unit)
    case DW_FORM.strx2:
      return indexedString(cursor.u16(), unit)
    case DW_FORM.strx3:
      return indexedString(cursor.u8() | (cursor.u16() << 8), unit)
    case DW_FORM.strx4:
      return indexedString(cursor.u32(), unit)
    default:
      passForm(cursor, form, unit)
      return undefined
  }
}

function indexedString(number: number, unit: AttributeContext): number {
  const { strOffsets, offsetSize, strOffsetsBase } = unit
  const at = strOffsetsBase + number * offsetSize
  if (at + offsetSize > strOffsets.length)
    throw new HotpatchError('TRUNCATED', `string ${number} is said to be at offset ${at} of .debug_str_offsets, which ends before`)
  return handleOf(STRING_HOMES.str, readOffset(new Cursor(strOffsets, at), unit))
}

/** The bytes of a DWARF expression; undefined where the form holds none. */
function readExpression(cursor: Cursor, form: number): Cursor | undefined {
  const length = expressionLength(cursor, form)
  if (length === undefined) return undefined
  const at = cursor.at
  cursor.skip(length)
  return new Cursor(cursor.data, at, at + length)
}

function expressionLength(cursor: Cursor, form: number): number | undefined {
  switch (form) {
    case DW_FORM.exprloc:
    case DW_FORM.block:
      return cursor.uleb()
    case DW_FORM.block1:
      return cursor.u8()
    case DW_FORM.block2:
      return cursor.u16()
    case DW_FORM.block4:
      return cursor.u32()
    default:
      return undefined
  }
}
