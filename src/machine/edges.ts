/**
 * Edge kinds: how a field of an instruction or a datum refers to an address. They belong to the processor, not to a file
 * format. Value conventions: see Edge in builder/graph.ts. P is the address of the field.
 */
export interface EdgeKindFacts {
  /** Of the field, in bytes. */
  readonly size: number
  readonly pcRelative: boolean
  /** What the field holds. */
  readonly what: string
}

const X64_EDGE_KINDS = {
  abs64: { size: 8, pcRelative: false, what: 'S + A' },
  abs32: { size: 4, pcRelative: false, what: 'S + A, zero-extended by its user' },
  abs32s: { size: 4, pcRelative: false, what: 'S + A, sign-extended by its user' },
  pcrel32: { size: 4, pcRelative: true, what: 'S + A - P' },
  pcrel64: { size: 8, pcRelative: true, what: 'S + A - P' },
  /** A call or jump: may be led through a stub. */
  branch32: { size: 4, pcRelative: true, what: 'S + A - P' },
  /** The 8-byte slot that holds S, relative to P: GOTPCREL and its relaxable forms. */
  gotpcrel32: { size: 4, pcRelative: true, what: 'GOT slot of S + A - P' },
  /** COFF ADDR32NB. */
  image32: { size: 4, pcRelative: false, what: 'S + A - image base' },
  /** COFF SECREL and SECTION: only debug and thread-local data use them. */
  secrel32: { size: 4, pcRelative: false, what: 'S + A - start of its section' },
  section16: { size: 2, pcRelative: false, what: 'number of the section of S' },
  tpoff32: { size: 4, pcRelative: false, what: 'S + A - thread pointer (local exec)' },
  gottpoff32: { size: 4, pcRelative: true, what: 'GOT slot of the thread offset of S + A - P (initial exec)' },
  tlsgd32: { size: 4, pcRelative: true, what: 'GOT pair of S for __tls_get_addr + A - P (general dynamic)' },
  tlsld32: { size: 4, pcRelative: true, what: 'GOT pair of the module + A - P (local dynamic)' },
  dtpoff32: { size: 4, pcRelative: false, what: "S + A - start of the module's thread-local block" },
  size32: { size: 4, pcRelative: false, what: 'size of S + A' },
  size64: { size: 8, pcRelative: false, what: 'size of S + A' },
  /** An FDE's distance back to its CIE; rewritten by the back end. */
  cie32: { size: 4, pcRelative: true, what: 'P - start of the CIE' },
} as const satisfies Record<string, EdgeKindFacts>

export type EdgeKind = keyof typeof X64_EDGE_KINDS

export const EDGE_KINDS: Readonly<Record<EdgeKind, EdgeKindFacts>> = X64_EDGE_KINDS
