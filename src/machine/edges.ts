/**
 * Edge kinds: how a field of an instruction or a datum refers to an address. Those of instructions belong to the processor, none to a file
 * format. Value conventions: see Edge in builder/graph.ts.
 */
import { ARM64_EDGE_KINDS } from './arm64/edges.ts'
import type { EdgeKindFacts } from './edge-facts.ts'
import { X64_EDGE_KINDS } from './x64/edges.ts'

export type { EdgeKindFacts, ThreadLocalAccess } from './edge-facts.ts'

const COMMON_EDGE_KINDS = {
  abs64: { size: 8, pcRelative: false, what: 'S + A' },
  abs32: { size: 4, pcRelative: false, what: 'S + A, zero-extended by its user' },
  /** In data on any processor, in instructions on x64. */
  pcrel32: { size: 4, pcRelative: true, fromEnd: true, what: 'S + A - P' },
  pcrel64: { size: 8, pcRelative: true, fromEnd: true, what: 'S + A - P' },
  /** COFF ADDR32NB. */
  image32: { size: 4, pcRelative: false, what: 'S + A - image base' },
  /** In data: what a slot for initial exec holds. */
  tpoff64: { size: 8, pcRelative: false, role: 'tls', access: 'local-exec', what: 'S + A - thread pointer' },
  /** COFF SECREL and SECTION: only debug and thread-local data use them. */
  secrel32: { size: 4, pcRelative: false, access: 'block-offset', what: 'S + A - start of its section' },
  /** In data: where code of PE finds the block of a module. */
  tlsindex32: { size: 4, pcRelative: false, what: 'number of the module that has S in its block' },
  section16: { size: 2, pcRelative: false, what: 'number of the section of S' },
  size32: { size: 4, pcRelative: false, what: 'size of S + A' },
  size64: { size: 8, pcRelative: false, what: 'size of S + A' },
  /** An FDE's distance back to its CIE; rewritten by the back end. */
  cie32: { size: 4, pcRelative: true, fromEnd: true, what: 'P - start of the CIE' },
} as const satisfies Record<string, EdgeKindFacts>

const KINDS = { ...COMMON_EDGE_KINDS, ...X64_EDGE_KINDS, ...ARM64_EDGE_KINDS } as const

export type EdgeKind = keyof typeof KINDS

export const EDGE_KINDS: Readonly<Record<EdgeKind, EdgeKindFacts>> = KINDS

/** A direct call or jump. */
export const isBranchKind = (kind: EdgeKind): boolean => EDGE_KINDS[kind].role === 'branch'

/** From a field to what a reference's addend counts from: the end of the field where the processor counts from there. */
export const biasOf = (kind: EdgeKind): number => (EDGE_KINDS[kind].fromEnd === true ? EDGE_KINDS[kind].size : 0)

/** Puts zero where the field of `kind` at `offset` is. */
export function clearField(content: Uint8Array, offset: number, kind: EdgeKind): void {
  const { size, mask = -1 } = EDGE_KINDS[kind]
  for (let i = 0; i < size; i++) content[offset + i] = (content[offset + i] as number) & ~(mask >>> (8 * (i % 4)))
}

/** Sets the bits of the field of `kind` at `offset`. */
export function markField(bits: Uint8Array, offset: number, kind: EdgeKind): void {
  const { size, mask = -1 } = EDGE_KINDS[kind]
  for (let i = 0; i < size; i++) bits[offset + i] = (bits[offset + i] as number) | (mask >>> (8 * (i % 4)))
}
