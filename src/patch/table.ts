/**
 * The hot patch table of winnt.h as values. Reading, writing and validation are in the files beside this one. One table serves
 * both formats: in a PE it is found through IMAGE_LOAD_CONFIG_DIRECTORY64.HotPatchTableOffset, in an ELF through a note.
 */

/** Chunk types: bits 14 to 19 of a chunk header, unshifted, as winnt.h writes them (IMAGE_HOT_PATCH_*). */
export const CHUNK_TYPES = {
  FUNCTION: 0x0001c000,
  ABSOLUTE: 0x0002c000,
  REL32: 0x0003c000,
  CALL_TARGET: 0x00044000,
  /** Ours, on a free number: a 32-bit absolute reference (non-PIE ELF programs below 2 GB). Inverse only. */
  ABSOLUTE32: 0x0004c000,
  /** Ours, on a free number: the same, but the target is in the patch image itself. Inverse only. */
  OWN_ABSOLUTE32: 0x00050000,
  INDIRECT: 0x0005c000,
  NO_CALL_TARGET: 0x00064000,
  DYNAMIC_VALUE: 0x00078000,
  /** Ours, on free numbers, for ARM64: the field of an ADRP, and that of a B or BL. Inverse only. */
  PAGE21: 0x000a4000,
  BRANCH26: 0x000a8000,
  /**
   * Ours, on free numbers: the distance from the thread pointer (ELF), or from the start of the block in which it lies (PE), to a thread-local variable of the
   * patch image, by the RVA of its initial value; all of it (x64), or its bits 12 to 23 and 0 to 11 in two instructions (ARM64). Inverse only.
   */
  OWN_THREAD32: 0x000ac000,
  OWN_THREAD_HIGH12: 0x000b0000,
  OWN_THREAD_LOW12: 0x000b4000,
  /**
   * Ours, on a free number: the number of the module in whose block a thread-local variable of the patch image lies, by the RVA of its initial value (PE). A
   * field may have several, of variables that have to lie in one block. Inverse only.
   */
  OWN_THREAD_INDEX: 0x000b8000,
} as const

export type ChunkType = keyof typeof CHUNK_TYPES

export interface HotPatchTable {
  readonly version: number
  readonly sequenceNumber: number
  /** Version 2 and later, else 0. */
  readonly bufferOffset: number
  /** Extra u32s in every record. Version 3 and later, else 0. */
  readonly extraPatchSize: number
  /** Version 4, else 0. */
  readonly minSequenceNumber: number
  readonly flags: number
  readonly bases: readonly HotPatchBase[]
}

export interface HotPatchBase {
  readonly sequenceNumber: number
  readonly flags: number
  readonly originalTimeDateStamp: number
  readonly originalCheckSum: number
  /** IMAGE_HOT_PATCH_HASHES. undefined: CodeIntegrityInfo is 0. */
  readonly hashes: { readonly sha256: Uint8Array; readonly sha1: Uint8Array } | undefined
  readonly bufferOffset: number
  readonly chunks: readonly HotPatchChunk[]
}

export interface HotPatchChunk {
  readonly type: ChunkType
  /** true: records are written into the patch image, their values come from the base image. */
  readonly inverse: boolean
  readonly obligatory: boolean
  readonly records: readonly HotPatchRecord[]
}

export interface HotPatchRecord {
  /** RVA of where it is written. */
  readonly source: number
  /**
   * RVA of what it refers to, in the other image (OWN_…: in the same). REL32: the field becomes target - (source + 4); where the
   * instruction does not end with its field, the target is shifted to make up for it.
   */
  readonly target: number
  /** As many as HotPatchTable.extraPatchSize. FUNCTION: the first is the 4 bytes expected at the source, little-endian. */
  readonly extras: readonly number[]
}
