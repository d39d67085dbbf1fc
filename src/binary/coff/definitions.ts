/** COFF as winnt.h has it: structures, and the names of their constants. Field names are the header's. */
import { bytes, chars, i16, i32, struct, u8, u16, u32 } from '../struct.ts'

export const ImageFileHeader = struct('IMAGE_FILE_HEADER', {
  Machine: u16,
  NumberOfSections: u16,
  TimeDateStamp: u32,
  PointerToSymbolTable: u32,
  NumberOfSymbols: u32,
  SizeOfOptionalHeader: u16,
  Characteristics: u16,
})

/** `/bigobj` objects: 32-bit section numbers. Sig1 is 0, Sig2 is 0xFFFF, Version at least 2, ClassID is BIGOBJ_CLASS_ID. */
export const AnonObjectHeaderBigobj = struct('ANON_OBJECT_HEADER_BIGOBJ', {
  Sig1: u16,
  Sig2: u16,
  Version: u16,
  Machine: u16,
  TimeDateStamp: u32,
  ClassID: bytes(16),
  SizeOfData: u32,
  Flags: u32,
  MetaDataSize: u32,
  MetaDataOffset: u32,
  NumberOfSections: u32,
  PointerToSymbolTable: u32,
  NumberOfSymbols: u32,
})

/** {D1BAA1C7-BAEE-4BA9-AF20-FAF66AA4DCB8} as it lies in the file. */
export const BIGOBJ_CLASS_ID = Uint8Array.from([
  0xc7, 0xa1, 0xba, 0xd1, 0xee, 0xba, 0xa9, 0x4b, 0xaf, 0x20, 0xfa, 0xf6, 0x6a, 0xa4, 0xdc, 0xb8,
])

/** A short import: one imported symbol as a member of an import library. Sig1 is 0, Sig2 is 0xFFFF, Version is 0. */
export const ImportObjectHeader = struct('IMPORT_OBJECT_HEADER', {
  Sig1: u16,
  Sig2: u16,
  Version: u16,
  Machine: u16,
  TimeDateStamp: u32,
  SizeOfData: u32,
  OrdinalOrHint: u16,
  /** Type in bits 0 and 1, NameType in bits 2 to 4. */
  TypeAndNameType: u16,
})

export const ImageSectionHeader = struct('IMAGE_SECTION_HEADER', {
  Name: chars(8),
  /** VirtualSize in images, 0 in objects. */
  VirtualSize: u32,
  VirtualAddress: u32,
  SizeOfRawData: u32,
  PointerToRawData: u32,
  PointerToRelocations: u32,
  PointerToLinenumbers: u32,
  NumberOfRelocations: u16,
  NumberOfLinenumbers: u16,
  Characteristics: u32,
})

export const ImageRelocation = struct('IMAGE_RELOCATION', {
  VirtualAddress: u32,
  SymbolTableIndex: u32,
  Type: u16,
})

export const ImageSymbol = struct('IMAGE_SYMBOL', {
  /** Eight characters, or four zero bytes and an offset in the string table. */
  Name: bytes(8),
  Value: u32,
  SectionNumber: i16,
  Type: u16,
  StorageClass: u8,
  NumberOfAuxSymbols: u8,
})

/** The symbols of /bigobj. */
export const ImageSymbolEx = struct('IMAGE_SYMBOL_EX', {
  Name: bytes(8),
  Value: u32,
  SectionNumber: i32,
  Type: u16,
  StorageClass: u8,
  NumberOfAuxSymbols: u8,
})

/** IMAGE_AUX_SYMBOL.Section: follows the symbol of a section. */
export const ImageAuxSection = struct('IMAGE_AUX_SYMBOL.Section', {
  Length: u32,
  NumberOfRelocations: u16,
  NumberOfLinenumbers: u16,
  CheckSum: u32,
  /** The associated section for IMAGE_COMDAT_SELECT_ASSOCIATIVE. */
  Number: u16,
  Selection: u8,
  bReserved: u8,
  /** The upper half of Number in /bigobj. */
  HighNumber: u16,
})

/** IMAGE_AUX_SYMBOL.Sym of a weak external. */
export const ImageAuxWeak = struct('IMAGE_AUX_SYMBOL.Sym (weak external)', {
  TagIndex: u32,
  Characteristics: u32,
})

/** IMAGE_AUX_SYMBOL.Sym of a function definition. */
export const ImageAuxFunction = struct('IMAGE_AUX_SYMBOL.Sym (function)', {
  TagIndex: u32,
  TotalSize: u32,
  PointerToLinenumber: u32,
  PointerToNextFunction: u32,
})

export const IMAGE_FILE_MACHINE = {
  I386: 0x014c,
  ARMNT: 0x01c4,
  AMD64: 0x8664,
  ARM64: 0xaa64,
  ARM64EC: 0xa641,
  ARM64X: 0xa64e,
} as const

export const IMAGE_FILE = {
  RELOCS_STRIPPED: 0x0001,
  EXECUTABLE_IMAGE: 0x0002,
  LINE_NUMS_STRIPPED: 0x0004,
  LOCAL_SYMS_STRIPPED: 0x0008,
  LARGE_ADDRESS_AWARE: 0x0020,
  DEBUG_STRIPPED: 0x0200,
  SYSTEM: 0x1000,
  DLL: 0x2000,
} as const

export const IMAGE_SCN = {
  TYPE_NO_PAD: 0x00000008,
  CNT_CODE: 0x00000020,
  CNT_INITIALIZED_DATA: 0x00000040,
  CNT_UNINITIALIZED_DATA: 0x00000080,
  LNK_INFO: 0x00000200,
  LNK_REMOVE: 0x00000800,
  LNK_COMDAT: 0x00001000,
  /** The exponent of the alignment plus 1, in objects. */
  ALIGN_MASK: 0x00f00000,
  LNK_NRELOC_OVFL: 0x01000000,
  MEM_DISCARDABLE: 0x02000000,
  MEM_NOT_CACHED: 0x04000000,
  MEM_NOT_PAGED: 0x08000000,
  MEM_SHARED: 0x10000000,
  MEM_EXECUTE: 0x20000000,
  MEM_READ: 0x40000000,
  MEM_WRITE: 0x80000000,
} as const

/** Special values of SectionNumber. */
export const IMAGE_SYM = { UNDEFINED: 0, ABSOLUTE: -1, DEBUG: -2 } as const

export const IMAGE_SYM_CLASS = {
  END_OF_FUNCTION: 0xff,
  NULL: 0,
  EXTERNAL: 2,
  STATIC: 3,
  LABEL: 6,
  FUNCTION: 101,
  FILE: 103,
  SECTION: 104,
  WEAK_EXTERNAL: 105,
} as const

/** The derived type "function" in IMAGE_SYMBOL.Type. */
export const IMAGE_SYM_DTYPE_FUNCTION = 0x20

export const IMAGE_COMDAT_SELECT = {
  NODUPLICATES: 1,
  ANY: 2,
  SAME_SIZE: 3,
  EXACT_MATCH: 4,
  ASSOCIATIVE: 5,
  LARGEST: 6,
  NEWEST: 7,
} as const

export const IMAGE_REL_AMD64 = {
  ABSOLUTE: 0x0000,
  ADDR64: 0x0001,
  ADDR32: 0x0002,
  ADDR32NB: 0x0003,
  REL32: 0x0004,
  REL32_1: 0x0005,
  REL32_2: 0x0006,
  REL32_3: 0x0007,
  REL32_4: 0x0008,
  REL32_5: 0x0009,
  SECTION: 0x000a,
  SECREL: 0x000b,
  SECREL7: 0x000c,
  TOKEN: 0x000d,
  SREL32: 0x000e,
  PAIR: 0x000f,
  SSPAN32: 0x0010,
} as const

export const IMAGE_REL_ARM64 = {
  ABSOLUTE: 0x0000,
  ADDR32: 0x0001,
  ADDR32NB: 0x0002,
  BRANCH26: 0x0003,
  PAGEBASE_REL21: 0x0004,
  REL21: 0x0005,
  PAGEOFFSET_12A: 0x0006,
  PAGEOFFSET_12L: 0x0007,
  SECREL: 0x0008,
  SECREL_LOW12A: 0x0009,
  SECREL_HIGH12A: 0x000a,
  SECREL_LOW12L: 0x000b,
  TOKEN: 0x000c,
  SECTION: 0x000d,
  ADDR64: 0x000e,
  BRANCH19: 0x000f,
  BRANCH14: 0x0010,
  REL32: 0x0011,
} as const

const relocationNames = (machine: string, types: Readonly<Record<string, number>>): ReadonlyMap<number, string> =>
  new Map(Object.entries(types).map(([name, type]) => [type, `IMAGE_REL_${machine}_${name}`]))

const RELOCATION_NAMES: ReadonlyMap<number, ReadonlyMap<number, string>> = new Map([
  [IMAGE_FILE_MACHINE.AMD64, relocationNames('AMD64', IMAGE_REL_AMD64)],
  [IMAGE_FILE_MACHINE.ARM64, relocationNames('ARM64', IMAGE_REL_ARM64)],
])

/** `IMAGE_REL_AMD64_REL32`, or `type 0x…` where the machine or the type is unknown. */
export const relocationName = (machine: number, type: number): string =>
  RELOCATION_NAMES.get(machine)?.get(type) ?? `type 0x${type.toString(16)}`

/** The alignment that a section of an object asks for, in bytes; 16 where it does not say, as linkers take it. */
export const sectionAlignment = (characteristics: number): number => {
  const exponent = (characteristics & IMAGE_SCN.ALIGN_MASK) >>> 20
  return exponent === 0 || exponent > 14 ? 16 : 1 << (exponent - 1)
}
