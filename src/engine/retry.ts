/** Waiting between tries: 1 ms, doubled up to 50 ms, each time a random part of it, so that no rhythm of the target is met for ever. */

const FIRST_MS = 1
const LONGEST_MS = 50

export interface Deadline {
  /** Waits a little longer than the last time, and not less than `atLeast` milliseconds. false, at once: the time is over. */
  wait(atLeast?: number): Promise<boolean>
  /** Milliseconds; 0 when the time is over. */
  left(): number
}

export function deadlineIn(timeoutMs: number): Deadline {
  const end = performance.now() + timeoutMs
  let pause = FIRST_MS
  const left = (): number => Math.max(0, end - performance.now())
  return {
    left,
    async wait(atLeast = 0) {
      if (left() === 0) return false
      const jittered = Math.max(atLeast, pause * (0.5 + Math.random() / 2))
      pause = Math.min(pause * 2, LONGEST_MS)
      await new Promise((resolve) => setTimeout(resolve, Math.min(jittered, left())))
      return true
    },
  }
}
