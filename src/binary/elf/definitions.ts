/** ELF as elf.h has it: 64-bit structures, and the names of their constants. Field names are the header's. */
import { bytes, i64, struct, u8, u16, u32, u64 } from '../struct.ts'

export const Elf64_Ehdr = struct('Elf64_Ehdr', {
  e_ident: bytes(16),
  e_type: u16,
  e_machine: u16,
  e_version: u32,
  e_entry: u64,
  e_phoff: u64,
  e_shoff: u64,
  e_flags: u32,
  e_ehsize: u16,
  e_phentsize: u16,
  e_phnum: u16,
  e_shentsize: u16,
  e_shnum: u16,
  e_shstrndx: u16,
})

export const Elf64_Phdr = struct('Elf64_Phdr', {
  p_type: u32,
  p_flags: u32,
  p_offset: u64,
  p_vaddr: u64,
  p_paddr: u64,
  p_filesz: u64,
  p_memsz: u64,
  p_align: u64,
})

export const Elf64_Shdr = struct('Elf64_Shdr', {
  sh_name: u32,
  sh_type: u32,
  sh_flags: u64,
  sh_addr: u64,
  sh_offset: u64,
  sh_size: u64,
  sh_link: u32,
  sh_info: u32,
  sh_addralign: u64,
  sh_entsize: u64,
})

export const Elf64_Sym = struct('Elf64_Sym', {
  st_name: u32,
  /** Binding in bits 4 to 7, type in bits 0 to 3. */
  st_info: u8,
  /** Visibility in bits 0 and 1. */
  st_other: u8,
  st_shndx: u16,
  st_value: u64,
  st_size: u64,
})

export const Elf64_Rel = struct('Elf64_Rel', {
  r_offset: u64,
  /** Symbol in the upper 32 bits, type in the lower. */
  r_info: u64,
})

export const Elf64_Rela = struct('Elf64_Rela', {
  r_offset: u64,
  r_info: u64,
  r_addend: i64,
})

export const Elf64_Dyn = struct('Elf64_Dyn', {
  d_tag: i64,
  d_val: u64,
})

/** Followed by the name and the descriptor, each padded to the section's alignment (4 or 8). */
export const Elf64_Nhdr = struct('Elf64_Nhdr', {
  n_namesz: u32,
  n_descsz: u32,
  n_type: u32,
})

export const Elf64_Verneed = struct('Elf64_Verneed', {
  vn_version: u16,
  vn_cnt: u16,
  vn_file: u32,
  vn_aux: u32,
  vn_next: u32,
})

export const Elf64_Vernaux = struct('Elf64_Vernaux', {
  vna_hash: u32,
  vna_flags: u16,
  vna_other: u16,
  vna_name: u32,
  vna_next: u32,
})

export const Elf64_Verdef = struct('Elf64_Verdef', {
  vd_version: u16,
  vd_flags: u16,
  vd_ndx: u16,
  vd_cnt: u16,
  vd_hash: u32,
  vd_aux: u32,
  vd_next: u32,
})

export const Elf64_Verdaux = struct('Elf64_Verdaux', {
  vda_name: u32,
  vda_next: u32,
})

/** The header of DT_GNU_HASH's table (GNU's own; not in elf.h). */
export const GnuHashHeader = struct('GNU hash header', {
  nbuckets: u32,
  symoffset: u32,
  bloom_size: u32,
  bloom_shift: u32,
})

export const ELFMAG = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46)
export const EI_CLASS = 4
export const EI_DATA = 5
export const EI_VERSION = 6
export const ELFCLASS64 = 2
export const ELFDATA2LSB = 1
export const EV_CURRENT = 1
/** e_phnum when the number of segments is in sh_info of section 0. */
export const PN_XNUM = 0xffff

export const ET = { NONE: 0, REL: 1, EXEC: 2, DYN: 3, CORE: 4 } as const

export const EM = { '386': 3, ARM: 40, X86_64: 62, AARCH64: 183, RISCV: 243 } as const

export const SHN = { UNDEF: 0, LORESERVE: 0xff00, X86_64_LCOMMON: 0xff02, ABS: 0xfff1, COMMON: 0xfff2, XINDEX: 0xffff } as const

export const SHT = {
  NULL: 0,
  PROGBITS: 1,
  SYMTAB: 2,
  STRTAB: 3,
  RELA: 4,
  HASH: 5,
  DYNAMIC: 6,
  NOTE: 7,
  NOBITS: 8,
  REL: 9,
  SHLIB: 10,
  DYNSYM: 11,
  INIT_ARRAY: 14,
  FINI_ARRAY: 15,
  PREINIT_ARRAY: 16,
  GROUP: 17,
  SYMTAB_SHNDX: 18,
  RELR: 19,
  LLVM_ADDRSIG: 0x6fff4c03,
  GNU_ATTRIBUTES: 0x6ffffff5,
  GNU_HASH: 0x6ffffff6,
  GNU_VERDEF: 0x6ffffffd,
  GNU_VERNEED: 0x6ffffffe,
  GNU_VERSYM: 0x6fffffff,
  X86_64_UNWIND: 0x70000001,
} as const

export const SHF = {
  WRITE: 0x1,
  ALLOC: 0x2,
  EXECINSTR: 0x4,
  MERGE: 0x10,
  STRINGS: 0x20,
  INFO_LINK: 0x40,
  LINK_ORDER: 0x80,
  OS_NONCONFORMING: 0x100,
  GROUP: 0x200,
  TLS: 0x400,
  COMPRESSED: 0x800,
  GNU_RETAIN: 0x200000,
  X86_64_LARGE: 0x10000000,
  EXCLUDE: 0x80000000,
} as const

export const GRP_COMDAT = 1

export const PT = {
  NULL: 0,
  LOAD: 1,
  DYNAMIC: 2,
  INTERP: 3,
  NOTE: 4,
  SHLIB: 5,
  PHDR: 6,
  TLS: 7,
  GNU_EH_FRAME: 0x6474e550,
  GNU_STACK: 0x6474e551,
  GNU_RELRO: 0x6474e552,
  GNU_PROPERTY: 0x6474e553,
} as const

export const PF = { X: 1, W: 2, R: 4 } as const

export const STB = { LOCAL: 0, GLOBAL: 1, WEAK: 2, GNU_UNIQUE: 10 } as const

export const STT = { NOTYPE: 0, OBJECT: 1, FUNC: 2, SECTION: 3, FILE: 4, COMMON: 5, TLS: 6, GNU_IFUNC: 10 } as const

export const STV = { DEFAULT: 0, INTERNAL: 1, HIDDEN: 2, PROTECTED: 3 } as const

export const DT = {
  NULL: 0,
  NEEDED: 1,
  PLTRELSZ: 2,
  PLTGOT: 3,
  HASH: 4,
  STRTAB: 5,
  SYMTAB: 6,
  RELA: 7,
  RELASZ: 8,
  RELAENT: 9,
  STRSZ: 10,
  SYMENT: 11,
  INIT: 12,
  FINI: 13,
  SONAME: 14,
  RPATH: 15,
  SYMBOLIC: 16,
  REL: 17,
  RELSZ: 18,
  RELENT: 19,
  PLTREL: 20,
  DEBUG: 21,
  TEXTREL: 22,
  JMPREL: 23,
  BIND_NOW: 24,
  INIT_ARRAY: 25,
  FINI_ARRAY: 26,
  INIT_ARRAYSZ: 27,
  FINI_ARRAYSZ: 28,
  RUNPATH: 29,
  FLAGS: 30,
  PREINIT_ARRAY: 32,
  PREINIT_ARRAYSZ: 33,
  SYMTAB_SHNDX: 34,
  RELRSZ: 35,
  RELR: 36,
  RELRENT: 37,
  GNU_HASH: 0x6ffffef5,
  VERSYM: 0x6ffffff0,
  RELACOUNT: 0x6ffffff9,
  RELCOUNT: 0x6ffffffa,
  FLAGS_1: 0x6ffffffb,
  VERDEF: 0x6ffffffc,
  VERDEFNUM: 0x6ffffffd,
  VERNEED: 0x6ffffffe,
  VERNEEDNUM: 0x6fffffff,
} as const

export const DF = { ORIGIN: 0x1, SYMBOLIC: 0x2, TEXTREL: 0x4, BIND_NOW: 0x8, STATIC_TLS: 0x10 } as const

export const DF_1 = { NOW: 0x1, GLOBAL: 0x2, NODELETE: 0x8, PIE: 0x08000000 } as const

/** Note types, by the name of their owner. */
export const NT_GNU = { ABI_TAG: 1, HWCAP: 2, BUILD_ID: 3, GOLD_VERSION: 4, PROPERTY_TYPE_0: 5 } as const

export const VERSYM_HIDDEN = 0x8000
export const VER_FLG_BASE = 1

export const R_X86_64 = {
  NONE: 0,
  '64': 1,
  PC32: 2,
  GOT32: 3,
  PLT32: 4,
  COPY: 5,
  GLOB_DAT: 6,
  JUMP_SLOT: 7,
  RELATIVE: 8,
  GOTPCREL: 9,
  '32': 10,
  '32S': 11,
  '16': 12,
  PC16: 13,
  '8': 14,
  PC8: 15,
  DTPMOD64: 16,
  DTPOFF64: 17,
  TPOFF64: 18,
  TLSGD: 19,
  TLSLD: 20,
  DTPOFF32: 21,
  GOTTPOFF: 22,
  TPOFF32: 23,
  PC64: 24,
  GOTOFF64: 25,
  GOTPC32: 26,
  GOT64: 27,
  GOTPCREL64: 28,
  GOTPC64: 29,
  GOTPLT64: 30,
  PLTOFF64: 31,
  SIZE32: 32,
  SIZE64: 33,
  GOTPC32_TLSDESC: 34,
  TLSDESC_CALL: 35,
  TLSDESC: 36,
  IRELATIVE: 37,
  RELATIVE64: 38,
  GOTPCRELX: 41,
  REX_GOTPCRELX: 42,
} as const

export const R_AARCH64 = {
  NONE: 0,
  ABS64: 257,
  ABS32: 258,
  ABS16: 259,
  PREL64: 260,
  PREL32: 261,
  PREL16: 262,
  MOVW_UABS_G0: 263,
  MOVW_UABS_G0_NC: 264,
  MOVW_UABS_G1: 265,
  MOVW_UABS_G1_NC: 266,
  MOVW_UABS_G2: 267,
  MOVW_UABS_G2_NC: 268,
  MOVW_UABS_G3: 269,
  LD_PREL_LO19: 273,
  ADR_PREL_LO21: 274,
  ADR_PREL_PG_HI21: 275,
  ADR_PREL_PG_HI21_NC: 276,
  ADD_ABS_LO12_NC: 277,
  LDST8_ABS_LO12_NC: 278,
  TSTBR14: 279,
  CONDBR19: 280,
  JUMP26: 282,
  CALL26: 283,
  LDST16_ABS_LO12_NC: 284,
  LDST32_ABS_LO12_NC: 285,
  LDST64_ABS_LO12_NC: 286,
  LDST128_ABS_LO12_NC: 299,
  ADR_GOT_PAGE: 311,
  LD64_GOT_LO12_NC: 312,
  LD64_GOTPAGE_LO15: 313,
  PLT32: 314,
  TLSGD_ADR_PAGE21: 513,
  TLSGD_ADD_LO12_NC: 514,
  TLSIE_ADR_GOTTPREL_PAGE21: 541,
  TLSIE_LD64_GOTTPREL_LO12_NC: 542,
  TLSLE_ADD_TPREL_HI12: 549,
  TLSLE_ADD_TPREL_LO12: 550,
  TLSLE_ADD_TPREL_LO12_NC: 551,
  TLSDESC_ADR_PAGE21: 562,
  TLSDESC_LD64_LO12: 563,
  TLSDESC_ADD_LO12: 564,
  TLSDESC_CALL: 569,
  COPY: 1024,
  GLOB_DAT: 1025,
  JUMP_SLOT: 1026,
  RELATIVE: 1027,
  TLS_DTPMOD: 1028,
  TLS_DTPREL: 1029,
  TLS_TPREL: 1030,
  TLSDESC: 1031,
  IRELATIVE: 1032,
} as const

/** The header's name of a value, with its prefix (`R_X86_64_PC32`); a number in hexadecimal where it has none. */
export function constantName(prefix: string, table: Readonly<Record<string, number>>, value: number): string {
  for (const [name, known] of Object.entries(table)) if (known === value) return `${prefix}_${name}`
  return `${prefix}_0x${value.toString(16)}`
}
