/** What a file's debug information is read from. Files put it together: elf/debug-sections.ts, coff/debug-sections.ts. */

export interface DebugSections {
  /** .debug_info; an object has one more for each type unit of DWARF 5 that may also be in other objects. */
  readonly info: readonly Uint8Array[]
  /** .debug_types: type units of DWARF 4. */
  readonly types: readonly Uint8Array[]
  readonly abbrev: Uint8Array
  readonly str: Uint8Array
  readonly lineStr: Uint8Array
  readonly strOffsets: Uint8Array
}

/** Sections that types and functions are read from, by name; DWARF in COFF has the same names. */
export const DEBUG_SECTION_NAMES = {
  info: '.debug_info',
  types: '.debug_types',
  abbrev: '.debug_abbrev',
  str: '.debug_str',
  lineStr: '.debug_line_str',
  strOffsets: '.debug_str_offsets',
} as const
