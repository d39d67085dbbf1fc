/** One engine at a time. */
import { type ConformanceCase, throwsCode } from './case.ts'

export const LOCK_CASES: readonly ConformanceCase[] = [
  {
    name: 'lock: keeps another handle out until it is let go, once',
    async run({ host, process, target }) {
      const other = host.backend.open(target.pid)
      const unlock = process.lock()
      throwsCode('ENGINE_AT_WORK', () => other.lock())
      throwsCode('ENGINE_AT_WORK', () => process.lock())
      unlock()
      const unlockOther = other.lock()
      unlock()
      throwsCode('ENGINE_AT_WORK', () => process.lock())
      unlockOther()
      other.close()
      process.lock()()
    },
  },
  {
    name: 'lock: keeps an engine of another program out, and is free when that is killed',
    async run({ host, process, target }) {
      const other = await host.startEngine(target.pid)
      throwsCode('ENGINE_AT_WORK', () => process.lock())
      await other.kill()
      process.lock()()
    },
  },
  {
    name: 'lock: one process does not keep engines from another one',
    async run({ host, process }) {
      const neighbour = await host.start()
      const other = host.backend.open(neighbour.pid)
      const unlock = process.lock()
      other.lock()()
      unlock()
      other.close()
      await neighbour.kill()
    },
  },
  {
    name: 'lock: a process that has ended is PROCESS_GONE',
    async run({ process, target }) {
      await target.kill()
      // Its main thread has ended; the others end just now.
      await target.settle()
      throwsCode('PROCESS_GONE', () => process.lock())
    },
  },
]
