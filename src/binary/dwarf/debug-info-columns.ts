/** What is kept of an entry of debug information. */

/** Columns of a row. NaN: the entry does not say. */
export const COLUMNS = [
  /** DW_TAG. */
  'tag',
  /** Place of the entry: unique among all units, see `rowAt`. */
  'place',
  /** Row of the parent; -1 for units. */
  'parent',
  /** One past the last row of the entry's children and theirs. */
  'end',
  /** Handles of strings, see `text`. */
  'name',
  'linkageName',
  /** Place of the entry that DW_AT_type names. */
  'type',
  /** DW_AT_byte_size. */
  'size',
  /** Bytes from the start of the aggregate. */
  'memberLocation',
  /** DW_AT_data_bit_offset: bits from the start of the aggregate. */
  'dataBitOffset',
  /** DW_AT_bit_offset of DWARF 2 to 4: bits from the most significant bit of a storage unit. */
  'bitOffset',
  'bitSize',
  /** DW_AT_const_value of an enumerator, DW_AT_count or DW_AT_upper_bound + 1 of a subrange. */
  'value',
  /** DW_ATE. */
  'encoding',
  /** Place of the entry of which this one is the body, the instance or the definition. */
  'origin',
  /** Place of the definition in a type unit. */
  'signature',
  /** Slot in the virtual table. */
  'slot',
  /** DIE_FLAGS. */
  'flags',
] as const

export type Column = (typeof COLUMNS)[number]

export const DIE_FLAGS = {
  declaration: 1,
  external: 2,
  /** The location is a fixed address. */
  static: 4,
  /** The location is in each thread's own memory. */
  thread: 8,
  /** It has code of its own: DW_AT_low_pc or DW_AT_ranges. */
  code: 16,
  /** It has a location at all: in frames, registers or memory. */
  located: 32,
} as const

/** Strings are named by one number, their handle: the offset, and in which section. */
export const STRING_HOMES = { str: 0, lineStr: 1, inline: 2 } as const
const HOMES = 4

export const handleOf = (home: number, offset: number): number => offset * HOMES + home
export const homeOf = (handle: number): number => handle % HOMES
export const offsetOf = (handle: number): number => Math.floor(handle / HOMES)
