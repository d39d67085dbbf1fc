/**
 * Waiting between tries: 1 ms, doubled up to 50 ms, each time a random part of it, so that no rhythm of the target is met for ever.
 *
 * A stop makes some system calls that wait begin to wait anew. A thread that sits in one with a time limit would never come to its end if it
 * were stopped again and again before; so where tries meet a thread that has not moved, some pauses are long.
 */

const FIRST_MS = 1
const LONGEST_MS = 50
const LONG_PAUSE_MS = 1500
/** One pause of so many is a long one. */
const LONG_PAUSE_EVERY = 8

export interface Deadline {
  /**
   * Waits a little longer than the last time, and not less than `atLeast` milliseconds; now and then much longer, where the last tries have
   * met a thread that has not moved (`still`). false, at once: the time is over.
   */
  wait(atLeast?: number, still?: boolean): Promise<boolean>
  /** Milliseconds; 0 when the time is over. */
  left(): number
  /** Does work that the target has no part in: its time does not count. */
  without<T>(work: () => T): T
}

export function deadlineIn(timeoutMs: number): Deadline {
  let end = performance.now() + timeoutMs
  let pause = FIRST_MS
  let waits = 0
  const left = (): number => Math.max(0, end - performance.now())
  return {
    left,
    without(work) {
      const start = performance.now()
      try {
        return work()
      } finally {
        end += performance.now() - start
      }
    },
    async wait(atLeast = 0, still = false) {
      if (left() === 0) return false
      const long = still && ++waits % LONG_PAUSE_EVERY === 0
      const jittered = Math.max(atLeast, long ? Math.min(LONG_PAUSE_MS, left() / 2) : pause * (0.5 + Math.random() / 2))
      pause = Math.min(pause * 2, LONGEST_MS)
      await new Promise((resolve) => setTimeout(resolve, Math.min(jittered, left())))
      return true
    },
  }
}
