/**
 * One engine at a time. Without it, a second engine would take the first one's unfinished ledger for that of a dead one, and take
 * its memory away.
 */
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'
import type { Deadline } from './retry.ts'

/** Does `work` while no other engine changes the process. Throws ENGINE_AT_WORK where one does until the deadline. */
export async function exclusively<T>(process: Process, deadline: Deadline, work: () => Promise<T>): Promise<T> {
  const unlock = await takeLock(process, deadline)
  try {
    return await work()
  } finally {
    unlock()
  }
}

async function takeLock(process: Process, deadline: Deadline): Promise<() => void> {
  for (;;) {
    try {
      return process.lock()
    } catch (error) {
      if (!(error instanceof HotpatchError) || error.code !== 'ENGINE_AT_WORK' || !(await deadline.wait())) throw error
    }
  }
}
