/** Two versions of one function, instruction by instruction: what a processor's folder answers when it is asked whether they are the same. */

/** The code of one version. */
export interface CodeVersion {
  readonly bytes: Uint8Array
  /** Offsets of fields that relocations fill; `bytes` holds zero there. What they mean is compared elsewhere. */
  readonly relocated: ReadonlySet<number>
}

export interface CodePairing {
  /**
   * Offsets of the instructions of both versions, ascending; the last pair are their ends. Instructions that only fill space are left out,
   * so that code behind an alignment still pairs when it moved.
   */
  readonly instructions: readonly { readonly before: number; readonly after: number }[]
  /** Constants in which paired instructions differ. Nothing else differs in them. */
  readonly constants: readonly DifferentConstant[]
}

export interface DifferentConstant {
  /** Of the instructions, in `instructions`. */
  readonly index: number
  readonly before: bigint
  readonly after: bigint
  /** The instruction puts it into a register or into memory and does nothing else with it: no comparison, no arithmetic. */
  readonly loads: boolean
}

/**
 * Pairs two versions of a function that consist of the same instructions: same operations on same operands, branches to paired
 * instructions. They may differ in constants, and in the length of the encodings that follows from those. undefined: they differ in more.
 */
export type PairCode = (before: CodeVersion, after: CodeVersion) => CodePairing | undefined

/** The instruction at or next behind an offset of one version, where only filling lies between. */
export function pairedIndex(pairing: CodePairing, version: 'before' | 'after', offset: number): number {
  const { instructions } = pairing
  let low = 0
  let high = instructions.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((instructions[middle] as { before: number; after: number })[version] < offset) low = middle + 1
    else high = middle
  }
  return low
}
