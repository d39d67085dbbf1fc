/** How a function is redirected to a stub, whatever the processor: the vocabulary of x64/redirect.ts and its like. */

export type RedirectKind =
  /** A jump in the padding before the function, and a short jump to it over (part of) the first instruction. */
  | 'padding'
  /** Over nops that the compiler put at the entry for this (-fpatchable-function-entry). */
  | 'entry-nops'
  /** A jump over the function's first instructions. */
  | 'first-bytes'

/** A function as it lies in its image, unpatched. */
export interface RedirectSite {
  /** Bytes right before the entry, the nearest last; up to 32. */
  readonly before: Uint8Array
  /**
   * How many bytes right before the entry are proven to be outside every function (by symbol sizes, .pdata, the next lower symbol), and not run
   * into by the function before them (see fallsThrough). 0 where nothing is known.
   */
  readonly padding: number
  /** The function's bytes from its entry on, `size` of them at least. */
  readonly code: Uint8Array
  /** Of the function, in bytes; not more than is proven to belong to it. */
  readonly size: number
  /**
   * Offsets into the function to which something else than its own direct jumps leads, the calls of its entry aside: jump tables, addresses of
   * labels, landing pads, jumps from parts that the compiler has split off.
   */
  readonly branchTargets?: readonly number[]
  /** Where it is not known, tables that only the image holds are not read. */
  readonly around?: Surroundings
}

/** The image around a function. */
export interface Surroundings {
  /** The entry's address in its page of 4096 bytes. */
  readonly inPage: number
  /** Bytes at an offset from the entry; undefined where the image has none. */
  read(offset: number, length: number): Uint8Array | undefined
}

/** A range of bytes by offsets from the function's entry (negative: before it); `end` is one past the last. */
export interface EntryRange {
  readonly start: number
  readonly end: number
}

export interface PlannedWrite {
  /** From the function's entry; negative: before it. */
  readonly offset: number
  /** Of the bytes written, and so of the original bytes to be kept. */
  readonly length: number
}

export interface RedirectPlan {
  readonly kind: RedirectKind
  /** Made before the switch, in any order: nothing executes these bytes until then. Taken back after the switch was. */
  readonly prepare: readonly PlannedWrite[]
  /** The one write that redirects the function. */
  readonly switch: PlannedWrite
  /** An instruction pointer strictly inside, in [start + 1, end), must not exist when the switch is written. */
  readonly guard: readonly EntryRange[]
  /** An instruction pointer in [start, end) must not exist when what `prepare` wrote is taken back. */
  readonly undoGuard: readonly EntryRange[]
  /**
   * No instruction begins strictly inside what the switch overwrites, so no thread can stand there: a switch that is one atomic store (see
   * EncodedSwitch) needs no thread to be stopped.
   */
  readonly safeWhileRunning: boolean
}

export interface RedirectRefusal {
  readonly refused: 'FUNCTION_TOO_SHORT' | 'REDIRECT_UNSAFE' | 'UNDECODABLE'
  /** One sentence without a full stop, its subject the function. */
  readonly why: string
}

export interface EncodedWrite {
  readonly address: bigint
  readonly bytes: Uint8Array
}

export interface EncodedSwitch extends EncodedWrite {
  /** The bytes lie within one aligned 8-byte word: one aligned store of that word (its other bytes as they are) writes them at once. */
  readonly atomic: boolean
}

export interface EncodedRedirect {
  readonly prepare: readonly EncodedWrite[]
  readonly switch: EncodedSwitch
}

/** What stands at an entry that was redirected. */
export interface RecognizedRedirect {
  /** Where the jump at the entry begins, from the entry. */
  readonly offset: number
  /** Of the jump at the entry. */
  readonly length: number
  /** Where it leads in the end, from the entry. */
  readonly target: number
}
