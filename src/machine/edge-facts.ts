/** What an edge kind is, whatever the processor. P is the address of the field, S + A the target. */
export interface EdgeKindFacts {
  /** Of the field, in bytes; of the instruction that holds it, where the field is some of its bits. */
  readonly size: number
  /** The bits of the little-endian word that the field takes. Absent: all of them. */
  readonly mask?: number
  readonly pcRelative: boolean
  /** What counts as the reference's own place is the end of the field (x64), not its instruction's beginning. */
  readonly fromEnd?: true
  readonly role?: EdgeRole
  /** What the field holds. */
  readonly what: string
}

export type EdgeRole =
  /** A direct call or jump: may be led through a stub. */
  | 'branch'
  /** Reaches the slot that holds S. */
  | 'got'
  /** Thread-local data. */
  | 'tls'
