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
  /** Of a field of a thread-local access: the model. Absent although it is one: a model that is not patched. */
  readonly access?: ThreadLocalAccess
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

/** "ELF Handling For Thread-Local Storage", 4: how code gets from its thread to a variable. */
export type ThreadLocalAccess =
  /** The code has the distance from the thread pointer. */
  | 'local-exec'
  /** A slot has it. */
  | 'initial-exec'
  /** `__tls_get_addr` is called with a pair of module and offset, */
  | 'general-dynamic'
  /** or with one for the start of the module's block, from which the code has offsets. */
  | 'local-dynamic'
  /** A function that a slot names gives the distance. */
  | 'descriptor'
  /** The code has the offset in the module's block. */
  | 'block-offset'
