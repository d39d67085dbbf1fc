/**
 * The hot patch table as it lies in a file: structures and constants with the names of winnt.h. All offsets count from the
 * start of IMAGE_HOT_PATCH_INFO.
 */
import { bytes, type Struct, struct, u32 } from '../binary/struct.ts'

/** The header as every version has it. */
const info1 = {
  /** 1..4. */
  Version: u32,
  /** Of the whole table: header, base list, bases, hashes, chunks; in bytes. */
  Size: u32,
  SequenceNumber: u32,
  /** Offset of BaseImageCount u32 offsets of IMAGE_HOT_PATCH_BASE. */
  BaseImageList: u32,
  BaseImageCount: u32,
}
const info2 = { ...info1, BufferOffset: u32 }
/** ExtraPatchSize: how many u32s more than two each record of a chunk has. */
const info3 = { ...info2, ExtraPatchSize: u32 }
const info4 = { ...info3, MinSequenceNumber: u32, Flags: u32 }

const base1 = {
  SequenceNumber: u32,
  Flags: u32,
  OriginalTimeDateStamp: u32,
  OriginalCheckSum: u32,
  /** Offset of IMAGE_HOT_PATCH_HASHES, or 0. */
  CodeIntegrityInfo: u32,
  CodeIntegritySize: u32,
  /** Offset of the chunk stream. */
  PatchTable: u32,
}
const base2 = { ...base1, BufferOffset: u32 }

export const IMAGE_HOT_PATCH_HASHES = struct('IMAGE_HOT_PATCH_HASHES', { SHA256: bytes(32), SHA1: bytes(20) })

/** A field that a version does not have is undefined when read and not looked at when written. */
export type InfoFields = Partial<Record<keyof typeof info4, number>> & Record<keyof typeof info1, number>
export type BaseFields = Partial<Record<keyof typeof base2, number>> & Record<keyof typeof base1, number>

interface VersionLayout {
  readonly info: Struct<InfoFields>
  readonly base: Struct<BaseFields>
}

/** Both structures grew at their ends: what a version does not have is cut off, also from Size and from strides. */
export const VERSIONS: Readonly<Record<number, VersionLayout>> = {
  1: { info: struct('IMAGE_HOT_PATCH_INFO (version 1)', info1), base: struct('IMAGE_HOT_PATCH_BASE (version 1)', base1) },
  2: { info: struct('IMAGE_HOT_PATCH_INFO (version 2)', info2), base: struct('IMAGE_HOT_PATCH_BASE (version 2)', base2) },
  3: { info: struct('IMAGE_HOT_PATCH_INFO (version 3)', info3), base: struct('IMAGE_HOT_PATCH_BASE (version 3)', base2) },
  4: { info: struct('IMAGE_HOT_PATCH_INFO (version 4)', info4), base: struct('IMAGE_HOT_PATCH_BASE (version 4)', base2) },
}

/** IMAGE_HOT_PATCH_BASE.Flags. */
export const IMAGE_HOT_PATCH_BASE_OBLIGATORY = 0x00000001
export const IMAGE_HOT_PATCH_BASE_CAN_ROLL_BACK = 0x00000002
/** Where the four bits of IMAGE_HOT_PATCH_MACHINE begin in IMAGE_HOT_PATCH_BASE.Flags. */
export const IMAGE_HOT_PATCH_BASE_MACHINE_SHIFT = 2

/** The bits of IMAGE_HOT_PATCH_MACHINE, by field. winnt.h's IMAGE_HOT_PATCH_BASE_MACHINE_* contradict it; this one decides. */
export const IMAGE_HOT_PATCH_MACHINE = { _x86: 1, Amd64: 2, Arm64: 4, Amd64EC: 8 } as const

export const IMAGE_HOT_PATCH_CHUNK_INVERSE = 0x80000000
export const IMAGE_HOT_PATCH_CHUNK_OBLIGATORY = 0x40000000
export const IMAGE_HOT_PATCH_CHUNK_RESERVED = 0x3ff03000
export const IMAGE_HOT_PATCH_CHUNK_TYPE = 0x000fc000
/** The number of records in the chunk. */
export const IMAGE_HOT_PATCH_CHUNK_SIZE = 0x00000fff

/**
 * Bytes. What thread-local data may be aligned to, by format: of ELF, what a patch image can lay out; of PE, what Windows' allocator grants, which is where
 * loaders take blocks from that do not look at the alignment in a TLS directory.
 */
export const THREAD_LOCAL_ALIGNMENT = { elf: 0x1000, pe: 16 } as const

/** u32s of a record before its extras: source and target RVA. */
export const RECORD_WORDS = 2

/**
 * How an ELF patch image announces its table: a note of this name and type, whose descriptor says where the table lies. In a PE the load
 * configuration does.
 */
export const HOTPATCH_NOTE = { name: 'hotpatch', type: 1 } as const

export const HotpatchNote = struct('HotpatchNote', {
  /** RVA of IMAGE_HOT_PATCH_INFO. */
  TableRva: u32,
  /** Bytes from there to the end of the section that holds the table; its own Size is not more. */
  TableSize: u32,
})

/** Names of sections. The table's is mapped, read-only; those of manifest and signature are not mapped. */
export const SECTIONS = {
  elf: { table: '.hotpatch', manifest: '.hotpatch.manifest', signature: '.hotpatch.signature' },
  pe: { manifest: '.hpmeta', signature: '.hpsig' },
} as const

/**
 * What a patch image may export to be told of its own fate: called with { u32 version = 1, u32 operation, u32 reserved } and the size
 * of that, 12.
 */
export const CALLOUT = '__PatchMainCallout__'
