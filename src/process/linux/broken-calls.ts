/**
 * Waiting system calls that a stop would break, and how it is kept from the program.
 *
 * Most calls that wait go on by themselves when a thread was stopped and let go. A few (signal(7), "Interruption of system calls
 * and library functions by stop signals") return EINTR instead, although no signal handler ran: programs that were never written for it
 * take that as a failure. So a thread that is stopped with such a result gets its call back: it starts anew when no handler runs, and fails with
 * EINTR when one does, as it would have without us. A relative timeout then counts anew, too.
 */
import { SYS } from '../../os/linux/syscalls.ts'

const CALLS = [
  SYS.epoll_wait,
  SYS.epoll_pwait,
  SYS.epoll_pwait2,
  SYS.semop,
  SYS.semtimedop,
  SYS.rt_sigtimedwait,
  SYS.io_getevents,
  SYS.io_pgetevents,
]
/** 1 at the number of each. */
export const BROKEN_BY_STOPS = new Uint8Array(512)
for (const call of CALLS) if (call < BROKEN_BY_STOPS.length) BROKEN_BY_STOPS[call] = 1
