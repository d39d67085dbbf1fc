/** What is to be quick in a stop is done before: JavaScript is compiled while it runs, and processors keep what they have met. */

/** Milliseconds. A slow machine gains nothing more by then, and someone waits. */
const LONGEST = 100

/** Does `round` so often, or for as long as it makes sense. */
export function rehearse(rounds: number, round: () => void): void {
  const end = performance.now() + LONGEST
  for (let done = 0; done < rounds && performance.now() < end; done++) round()
}
