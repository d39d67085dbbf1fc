/**
 * Structures of a PDB file, as LLVM's documentation (docs/PDB) and Microsoft's published source (microsoft-pdb, cvinfo.h) have them:
 * a small file system (MSF) whose streams hold tables.
 */
import { Guid } from '../codeview/guid.ts'
import { bytes, i32, struct, u8, u16, u32 } from '../struct.ts'

/** `Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0`. */
export const MSF_MAGIC: Uint8Array = Buffer.from('Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0', 'latin1')

export const MsfSuperBlock = struct('MSF super block', {
  FileMagic: bytes(32),
  BlockSize: u32,
  FreeBlockMapBlock: u32,
  NumBlocks: u32,
  NumDirectoryBytes: u32,
  Unknown: u32,
  /** The block that holds the numbers of the directory's blocks. */
  BlockMapAddr: u32,
})

export const BLOCK_SIZES: ReadonlySet<number> = new Set([512, 1024, 2048, 4096, 8192, 16384, 32768])

/** A stream that was deleted has this size. */
export const NO_STREAM = 0xffffffff
/** How 16-bit fields say that there is no stream. */
export const NO_STREAM_INDEX = 0xffff

export const PDB_STREAM = { INFO: 1, TPI: 2, DBI: 3, IPI: 4 } as const

export const PdbInfoHeader = struct('PdbStreamHeader', {
  Version: u32,
  Signature: u32,
  Age: u32,
  Guid,
})

/** The only version since 1999. */
export const DBI_VERSION_V70 = 19990903

export const DbiHeader = struct('DbiStreamHeader', {
  /** -1. */
  VersionSignature: i32,
  VersionHeader: u32,
  Age: u32,
  GlobalStreamIndex: u16,
  BuildNumber: u16,
  PublicStreamIndex: u16,
  PdbDllVersion: u16,
  /** The stream that holds public and global symbols. */
  SymRecordStream: u16,
  PdbDllRbld: u16,
  ModInfoSize: i32,
  SectionContributionSize: i32,
  SectionMapSize: i32,
  SourceInfoSize: i32,
  TypeServerMapSize: i32,
  MFCTypeServerIndex: u32,
  OptionalDbgHeaderSize: i32,
  ECSubstreamSize: i32,
  Flags: u16,
  Machine: u16,
  Padding: u32,
})

/** Indices of the optional debug header's 16-bit stream numbers. */
export const DBG_HEADER = { OMAP_TO_SRC: 3, OMAP_FROM_SRC: 4 } as const

/** Two zero-terminated names follow: the module's and the object file's or archive's. Records begin at multiples of 4. */
export const ModInfo = struct('ModInfo', {
  Unused1: u32,
  /** SectionContribEntry. */
  SectionContribution: bytes(28),
  Flags: u16,
  ModuleSymStream: u16,
  SymByteSize: u32,
  C11ByteSize: u32,
  C13ByteSize: u32,
  SourceFileCount: u16,
  Padding: u16,
  Unused2: u32,
  SourceFileNameIndex: u32,
  PdbFilePathNameIndex: u32,
})

/** Bytes of a module's stream before its first symbol record (CV_SIGNATURE_C13). */
export const MODULE_SIGNATURE_SIZE = 4

/** SYM_ENUM_e of cvinfo.h: the kinds that name code or data. */
export const S = {
  LDATA32: 0x110c,
  GDATA32: 0x110d,
  PUB32: 0x110e,
  LPROC32: 0x110f,
  GPROC32: 0x1110,
  LTHREAD32: 0x1112,
  GTHREAD32: 0x1113,
  LPROC32_ID: 0x1146,
  GPROC32_ID: 0x1147,
  BUILDINFO: 0x114c,
} as const

/** The zero-terminated name follows each of these. */
export const ProcSym = struct('PROCSYM32', {
  pParent: u32,
  pEnd: u32,
  pNext: u32,
  len: u32,
  DbgStart: u32,
  DbgEnd: u32,
  typind: u32,
  off: u32,
  seg: u16,
  flags: u8,
})
export const DataSym = struct('DATASYM32', { typind: u32, off: u32, seg: u16 })
export const PubSym = struct('PUBSYM32', { pubsymflags: u32, off: u32, seg: u16 })

export const PUBSYM_FUNCTION = 2

/** How a substream of section contributions begins; the second form has the object's section number behind each entry. */
export const CONTRIBUTIONS_VERSION = { V60: 0xf12eba2d, V2: 0xf13151e4 } as const

/** SC of Microsoft's dbi.h: what a module has put into a section of the image. */
export const SectionContribution = struct('SectionContribEntry', {
  Section: u16,
  Padding1: u16,
  Offset: i32,
  /** Bytes of the object's section. */
  Size: i32,
  Characteristics: u32,
  ModuleIndex: u16,
  Padding2: u16,
  /** Of the object's section before it was relocated: CRC-32 that begins with 0 and is not inverted. */
  DataCrc: u32,
  RelocCrc: u32,
})

/** The only version of type and id streams since 1999. */
export const TPI_VERSION_V80 = 20040203

/** The header of the type and id streams, as far as it matters here. */
export const TpiHeader = struct('TpiStreamHeader', {
  Version: u32,
  HeaderSize: u32,
  TypeIndexBegin: u32,
  TypeIndexEnd: u32,
  TypeRecordBytes: u32,
})

/** LEAF_ENUM_e of cvinfo.h. */
export const LF = { BUILDINFO: 0x1603, STRING_ID: 0x1605 } as const

/** Places of LF_BUILDINFO's strings. */
export const BUILD_INFO = { SOURCE_FILE: 2 } as const
