import { setTimeout as sleep } from 'node:timers/promises'
import { within } from '../brought.ts'

/** Waits for what comes of itself. Throws when it has not come for long. */
export async function until(what: string, condition: () => boolean, limit = within(20_000)): Promise<void> {
  const deadline = Date.now() + limit
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`it did not come to: ${what}`)
    await sleep(within(2))
  }
}
