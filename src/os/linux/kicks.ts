/**
 * Waiting for a thread of another process, with a limit: waitpid has none. Polling would do, but where target and engine share a
 * processor, the one that polls keeps the other from getting where it is waited for. So waitpid blocks, and a timer signal to this
 * very thread makes it return with EINTR every few milliseconds, to look at the clock.
 */
import { HotpatchError } from '../../errors.ts'
import { SIGACTION } from './definitions.ts'
import { errno, errnoName, libc, pinned, symbolAddress } from './libc.ts'
import { SYS } from './syscalls.ts'

/** A real-time signal that the C libraries, Node.js and its libraries leave alone. */
const SIGNAL = 43
const CLOCK_MONOTONIC = 1
const SIGEV_THREAD_ID = 4
const INTERVAL_NS = 5_000_000n

/** bits/types/sigevent_t.h. */
const SIGEVENT = { size: 64, signo: 8, notify: 12, tid: 16 } as const

const on = pinned(32)
on.view.setBigInt64(8, INTERVAL_NS, true)
on.view.setBigInt64(24, INTERVAL_NS, true)
const off = pinned(32)
let timer: number | undefined

/** From now on, calls that wait are interrupted every 5 ms. */
export function startKicks(): void {
  timer ??= makeTimer()
  libc.syscall(SYS.timer_settime, timer, 0, on.address, 0)
}

export function stopKicks(): void {
  if (timer !== undefined) libc.syscall(SYS.timer_settime, timer, 0, off.address, 0)
}

function makeTimer(): number {
  // Without SA_RESTART, a handler's return makes a waiting call fail with EINTR.
  const action = pinned(SIGACTION.size)
  // The handler is a function of the C library that takes a number and touches nothing. It stays installed: a signal may still
  // be under way when the timer is stopped.
  action.view.setBigInt64(SIGACTION.handler, BigInt(symbolAddress('abs')), true)
  libc.sigaction(SIGNAL, action.address, 0)
  const event = pinned(SIGEVENT.size)
  event.view.setInt32(SIGEVENT.signo, SIGNAL, true)
  event.view.setInt32(SIGEVENT.notify, SIGEV_THREAD_ID, true)
  event.view.setInt32(SIGEVENT.tid, libc.syscall(SYS.gettid, 0, 0, 0, 0), true)
  const id = pinned(8)
  if (libc.syscall(SYS.timer_create, CLOCK_MONOTONIC, event.address, id.address, 0) !== 0)
    throw new HotpatchError('DEFECT', `a timer cannot be made (${errnoName(errno())})`)
  return id.view.getInt32(0, true)
}
