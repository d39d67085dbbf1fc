/** Entries of types: which tags mean what, and where members lie. */
import type { DieTable } from './debug-info.ts'
import { DW_TAG } from './debug-info-definitions.ts'

/** Tags that change nothing about where a type's parts lie. */
export const QUALIFIERS: ReadonlySet<number> = new Set([
  DW_TAG.const_type,
  DW_TAG.volatile_type,
  DW_TAG.restrict_type,
  DW_TAG.atomic_type,
  DW_TAG.immutable_type,
])

export const POINTERS: ReadonlySet<number> = new Set([
  DW_TAG.pointer_type,
  DW_TAG.reference_type,
  DW_TAG.rvalue_reference_type,
  DW_TAG.ptr_to_member_type,
])

/** How deep types may nest and refer to each other; compilers' own limits are lower. */
export const DEEPEST = 256

/** A column's value; undefined where the entry does not say. */
export const defined = (value: number): number | undefined => (Number.isNaN(value) ? undefined : value)

/**
 * Bits from the start of the aggregate to a member. DWARF 2 to 4 count a bit-field from the most significant bit of its storage unit, which
 * on little-endian machines is its last.
 * @param size bytes of the member's type
 */
export function memberBitOffset(dies: DieTable, row: number, size: number | undefined, inUnion: boolean): number | undefined {
  const dataBitOffset = dies.get(row, 'dataBitOffset')
  if (!Number.isNaN(dataBitOffset)) return dataBitOffset
  const location = dies.get(row, 'memberLocation')
  if (Number.isNaN(location)) return inUnion || !Number.isNaN(dies.get(row, 'bitSize')) ? 0 : undefined
  const bitOffset = dies.get(row, 'bitOffset')
  if (Number.isNaN(bitOffset)) return location * 8
  const storage = defined(dies.get(row, 'size')) ?? size ?? 0
  return location * 8 + storage * 8 - bitOffset - (defined(dies.get(row, 'bitSize')) ?? 0)
}
