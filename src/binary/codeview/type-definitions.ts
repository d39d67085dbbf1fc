/**
 * Type and symbol records of CodeView as objects hold them in `.debug$T` and `.debug$S` and PDBs in their streams, by Microsoft's cvinfo.h and LLVM's
 * CodeViewTypes.def and CodeViewSymbols.def.
 */

/** Both sections begin with it. */
export const CV_SIGNATURE_C13 = 4

/** Type indices below it are not those of records. */
export const FIRST_INDEX = 0x1000

export const LF = {
  MODIFIER: 0x1001,
  POINTER: 0x1002,
  PROCEDURE: 0x1008,
  MFUNCTION: 0x1009,
  ARGLIST: 0x1201,
  FIELDLIST: 0x1203,
  BITFIELD: 0x1205,
  METHODLIST: 0x1206,
  BCLASS: 0x1400,
  VBCLASS: 0x1401,
  IVBCLASS: 0x1402,
  INDEX: 0x1404,
  VFUNCTAB: 0x1409,
  TYPESERVER: 0x1501,
  ENUMERATE: 0x1502,
  ARRAY: 0x1503,
  CLASS: 0x1504,
  STRUCTURE: 0x1505,
  UNION: 0x1506,
  ENUM: 0x1507,
  PRECOMP: 0x1509,
  ALIAS: 0x150a,
  MEMBER: 0x150d,
  STMEMBER: 0x150e,
  METHOD: 0x150f,
  NESTTYPE: 0x1510,
  ONEMETHOD: 0x1511,
  TYPESERVER2: 0x1515,
  INTERFACE: 0x1519,
  BINTERFACE: 0x151a,
  FUNC_ID: 0x1601,
  MFUNC_ID: 0x1602,
} as const

/** Records of what has members. */
export const AGGREGATES: Readonly<Record<number, 'struct' | 'class' | 'union'>> = {
  [LF.STRUCTURE]: 'struct',
  [LF.CLASS]: 'class',
  [LF.INTERFACE]: 'class',
  [LF.UNION]: 'union',
}

/** What a numeric leaf of 0x8000 and above is followed by: bytes, and whether they are signed. */
export const NUMERIC: Readonly<Record<number, readonly [size: 1 | 2 | 4 | 8, signed: boolean]>> = {
  32768: [1, true],
  32769: [2, true],
  32770: [2, false],
  32771: [4, true],
  32772: [4, false],
  32777: [8, true],
  32778: [8, false],
}

/** Of a struct, class, union or enum: its definition is another record, or nowhere. */
export const FORWARD_REFERENCE = 0x80

/** Bits 2 to 4 of a method's attributes. */
export const METHOD_KINDS = { virtual: 1, introducing: 4, pure: 5, pureIntroducing: 6 } as const

export const SYMBOLS_SUBSECTION = 0xf1

export const S = {
  END: 0x0006,
  THUNK32: 0x1102,
  BLOCK32: 0x1103,
  REGISTER: 0x1106,
  UDT: 0x1108,
  BPREL32: 0x110b,
  LDATA32: 0x110c,
  GDATA32: 0x110d,
  LPROC32: 0x110f,
  GPROC32: 0x1110,
  REGREL32: 0x1111,
  LTHREAD32: 0x1112,
  GTHREAD32: 0x1113,
  SEPCODE: 0x1132,
  LOCAL: 0x113e,
  LPROC32_ID: 0x1146,
  GPROC32_ID: 0x1147,
  INLINESITE: 0x114d,
  INLINESITE_END: 0x114e,
  PROC_ID_END: 0x114f,
  FILESTATIC: 0x1153,
  INLINESITE2: 0x115d,
  REGREL32_INDIR: 0x1171,
} as const

/** Simple types by the low byte of their index: C's name, bytes, encoding. */
export const SIMPLE_TYPES: Readonly<
  Record<number, readonly [name: string, size: number, encoding: 'signed' | 'unsigned' | 'float' | 'boolean' | 'other']>
> = {
  8: ['HRESULT', 4, 'signed'],
  16: ['signed char', 1, 'signed'],
  17: ['short', 2, 'signed'],
  18: ['long', 4, 'signed'],
  19: ['long long', 8, 'signed'],
  20: ['__int128', 16, 'signed'],
  32: ['unsigned char', 1, 'unsigned'],
  33: ['unsigned short', 2, 'unsigned'],
  34: ['unsigned long', 4, 'unsigned'],
  35: ['unsigned long long', 8, 'unsigned'],
  36: ['unsigned __int128', 16, 'unsigned'],
  48: ['bool', 1, 'boolean'],
  49: ['bool', 2, 'boolean'],
  50: ['bool', 4, 'boolean'],
  51: ['bool', 8, 'boolean'],
  64: ['float', 4, 'float'],
  65: ['double', 8, 'float'],
  66: ['long double', 10, 'float'],
  67: ['__float128', 16, 'float'],
  69: ['float', 4, 'float'],
  70: ['__half', 2, 'float'],
  80: ['_Complex float', 8, 'float'],
  81: ['_Complex double', 16, 'float'],
  104: ['signed char', 1, 'signed'],
  105: ['unsigned char', 1, 'unsigned'],
  112: ['char', 1, 'signed'],
  113: ['wchar_t', 2, 'unsigned'],
  114: ['short', 2, 'signed'],
  115: ['unsigned short', 2, 'unsigned'],
  116: ['int', 4, 'signed'],
  117: ['unsigned int', 4, 'unsigned'],
  118: ['long long', 8, 'signed'],
  119: ['unsigned long long', 8, 'unsigned'],
  120: ['__int128', 16, 'signed'],
  121: ['unsigned __int128', 16, 'unsigned'],
  122: ['char16_t', 2, 'unsigned'],
  123: ['char32_t', 4, 'unsigned'],
  124: ['char8_t', 1, 'unsigned'],
}
