/**
 * Whether the process, all its threads stopped, is where a switch can do no harm. Everything that can be prepared is prepared
 * before the first thread is stopped; inside the stop there are comparisons only.
 *
 * What is looked at is each thread's instruction pointer: no thread may stand inside bytes that are rewritten. Standing on the first
 * byte of an entry is harmless, since the thread then begins with the new instruction; an original instruction that is cut in two,
 * or the second of several, is not. Frames further up the stacks are looked at here, too, once they are: this file is their place.
 */
import type { Blocker, StoppedThreads } from '../process/contract.ts'

/** A range that no thread may stand in, with the index of the function that it belongs to. */
export interface Guard {
  readonly start: bigint
  /** One past the last byte. */
  readonly end: bigint
  readonly function: number
}

export type Inspect = (stopped: StoppedThreads) => Blocker | undefined

/** The check for these ranges. A blocker's `guard` is the index of the function. */
export function prepareInspection(guards: readonly Guard[]): Inspect {
  const sorted = [...guards].filter((guard) => guard.end > guard.start).sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0))
  const starts = BigUint64Array.from(sorted, (guard) => guard.start)
  // Ranges of different functions never overlap, those of one may touch: the end of the last range that begins at or before an address
  // decides.
  const ends = BigUint64Array.from(sorted, (guard) => guard.end)
  const functions = Uint32Array.from(sorted, (guard) => guard.function)
  return (stopped) => {
    for (let i = 0; i < stopped.count; i++) {
      const instructionPointer = stopped.instructionPointer(i)
      const at = lastNotAbove(starts, instructionPointer)
      if (at >= 0 && instructionPointer < (ends[at] as bigint))
        return { threadId: stopped.id(i), instructionPointer, guard: functions[at] as number }
    }
    return undefined
  }
}

/** Index of the last element that is not above `value`; -1 where all are. */
function lastNotAbove(sorted: BigUint64Array, value: bigint): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as bigint) <= value) low = middle + 1
    else high = middle
  }
  return low - 1
}
