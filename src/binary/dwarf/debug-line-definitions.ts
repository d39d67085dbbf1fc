/** The numbers of .debug_line: DWARF 5, section 7.22 and appendix D; versions 2 to 4 are subsets but for their tables of files. */

/** Standard opcodes (table 7.25). */
export const DW_LNS = {
  copy: 1,
  advance_pc: 2,
  advance_line: 3,
  set_file: 4,
  set_column: 5,
  negate_stmt: 6,
  set_basic_block: 7,
  const_add_pc: 8,
  fixed_advance_pc: 9,
  set_prologue_end: 10,
  set_epilogue_begin: 11,
  set_isa: 12,
} as const

/** Extended opcodes (table 7.26). */
export const DW_LNE = { end_sequence: 1, set_address: 2, define_file: 3, set_discriminator: 4 } as const

/** What a column of the version 5 tables of folders and files holds (table 7.27). */
export const DW_LNCT = { path: 1, directory_index: 2, timestamp: 3, size: 4, MD5: 5 } as const

/** The forms that such a column may have (section 6.2.4.1), and clang's indexed strings. */
export const LINE_FORM = {
  block2: 0x03,
  block4: 0x04,
  data2: 0x05,
  data4: 0x06,
  data8: 0x07,
  string: 0x08,
  block: 0x09,
  block1: 0x0a,
  data1: 0x0b,
  strp: 0x0e,
  udata: 0x0f,
  strx: 0x1a,
  data16: 0x1e,
  line_strp: 0x1f,
  strx1: 0x25,
  strx2: 0x26,
  strx3: 0x27,
  strx4: 0x28,
} as const

/** The length that announces a 64-bit length. */
export const DWARF64 = 0xffffffff
/** Lengths from here on are reserved (section 7.4). */
export const RESERVED_LENGTHS = 0xfffffff0
