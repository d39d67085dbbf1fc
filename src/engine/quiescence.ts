/**
 * Whether the process, all its threads stopped, is where a switch can do no harm. Everything that can be prepared is prepared
 * before the first thread is stopped; inside the stop there are comparisons only.
 *
 * Two things are looked at. No thread may stand inside bytes that are rewritten: standing on the first byte of an entry is harmless,
 * since the thread then begins with the new instruction; an original instruction that is cut in two, or the second of several, is not.
 * And where all functions are to switch as one, no frame of any stack may lie inside a function that changes: whoever is in an old
 * one would go on with old code among new (stacks/inspection.ts).
 */
import type { Blocker, StoppedThreads } from '../process/contract.ts'

/** A range that no thread may stand in, or no frame may lie in, with the index of the function that it belongs to. */
export interface Guard {
  readonly start: bigint
  /** One past the last byte. */
  readonly end: bigint
  readonly function: number
}

export type Inspect = (stopped: StoppedThreads) => Blocker | undefined

/** Guards in arrays to be searched: an address is a number here, since nothing may be allocated while threads stand still. */
export class Ranges {
  readonly #starts: Float64Array
  readonly #ends: Float64Array
  readonly #functions: Int32Array
  /** No range holds what lies outside of these. */
  readonly #low: number
  readonly #high: number

  /** Ranges must not overlap; empty ones are left out. */
  constructor(guards: readonly Guard[]) {
    const sorted = guards.filter((guard) => guard.end > guard.start).sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0))
    this.#starts = Float64Array.from(sorted, (guard) => Number(guard.start))
    this.#ends = Float64Array.from(sorted, (guard) => Number(guard.end))
    this.#functions = Int32Array.from(sorted, (guard) => guard.function)
    this.#low = this.#starts[0] ?? Number.POSITIVE_INFINITY
    this.#high = this.#ends[this.#ends.length - 1] ?? 0
  }

  get empty(): boolean {
    return this.#starts.length === 0
  }

  /** The function of the range that holds `address`; -1: none does. */
  functionAt(address: number): number {
    if (address < this.#low || address >= this.#high) return -1
    const starts = this.#starts
    let low = 0
    let high = starts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((starts[middle] as number) <= address) low = middle + 1
      else high = middle
    }
    return low > 0 && address < (this.#ends[low - 1] as number) ? (this.#functions[low - 1] as number) : -1
  }
}
