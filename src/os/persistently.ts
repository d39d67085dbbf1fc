/**
 * Wine now and then refuses to make a process, with an error that Node.js has no name for; the same call succeeds a moment later. A caller that
 * gives up at once would fail once in some thousand starts.
 */

const TRIES = 5
/** Milliseconds; the second time twice as long, and so on. */
const PAUSE = 20

/** Calls `start` (of a process, without waiting for it) until it succeeds or has failed five times. Throws at once what has a name. */
export function persistently<T>(start: () => T): T {
  for (let tries = 1; ; tries++) {
    try {
      return start()
    } catch (error) {
      if (tries === TRIES || (error as NodeJS.ErrnoException).code !== 'UNKNOWN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE * tries)
    }
  }
}
