/** Fields of the patch image about the patch image itself that only the engine can fill in, by records of the table. */
import type { EdgeKind } from '../machine/edges.ts'
import type { ChunkType } from '../patch/table.ts'

/** 32-bit addresses. */
export const OWN_ABSOLUTE32_KINDS: ReadonlySet<EdgeKind> = new Set(['abs32', 'abs32s'])

/**
 * Where variables are that the patch brings: distances from the thread pointer (ELF; an offset from there instead of the module's block is one), or a
 * module's number and offsets in its block (PE).
 */
export const OWN_THREAD_RECORDS: ReadonlyMap<EdgeKind, ChunkType & `OWN_THREAD${string}`> = new Map([
  ['tpoff32', 'OWN_THREAD32'],
  ['dtpoff32', 'OWN_THREAD32'],
  ['tprelhi12', 'OWN_THREAD_HIGH12'],
  ['tprello12', 'OWN_THREAD_LOW12'],
  ['secrel32', 'OWN_THREAD32'],
  ['secrelhi12', 'OWN_THREAD_HIGH12'],
  ['secrello12', 'OWN_THREAD_LOW12'],
  ['tlsindex32', 'OWN_THREAD_INDEX'],
] as const)
