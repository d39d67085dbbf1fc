/**
 * Running ahead of others for a moment. While threads are being stopped and let go, each of them that wakes up on our processor would
 * otherwise take it from us, with the rest of the target still standing: on a busy machine that made the stop five times as long.
 */
import { libc, pinned } from './libc.ts'

/** sched.h. */
const SCHED_FIFO = 1
const SCHED_RESET_ON_FORK = 0x40000000

const before = pinned(4)
const lowest = pinned(4)
lowest.view.setInt32(0, 1, true)
let policy: number | undefined

/** To the lowest real-time priority, where the system lets us (CAP_SYS_NICE); otherwise nothing changes. Pair it with `runAsBefore`. */
export function runAhead(): void {
  const current = libc.sched_getscheduler(0)
  if (current < 0 || libc.sched_getparam(0, before.address) !== 0) return
  if (libc.sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, lowest.address) === 0) policy = current
}

export function runAsBefore(): void {
  if (policy !== undefined) libc.sched_setscheduler(0, policy, before.address)
  policy = undefined
}
