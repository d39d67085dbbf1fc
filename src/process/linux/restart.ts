/**
 * Waiting system calls that a stop would break, and how it is kept from the program.
 *
 * Most calls that wait go on by themselves when a thread was stopped and let go. A few (signal(7), "Interruption of system calls
 * and library functions by stop signals") return EINTR instead, although no signal handler ran: programs that were never written for it
 * take that as a failure. The kernel decides from the thread's registers on its way back to user mode, so a thread that is
 * stopped with such a result is given ERESTARTNOHAND for it: the call starts anew when no handler runs, and fails with
 * EINTR when one does, as it would have without us. A relative timeout then counts anew, too.
 */
import { ERRNO, PTRACE, SIG, SYS, UserRegs } from '../../os/linux/definitions.ts'
import { libc } from '../../os/linux/libc.ts'
import { isEventStop, stopSignal } from './tracing.ts'

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
const returnsEintr = new Uint8Array(512)
for (const call of CALLS) returnsEintr[call] = 1

const INTERRUPTED = BigInt.asUintN(64, -BigInt(ERRNO.EINTR))

/** Whether registers show such a call, broken off. */
export const isBrokenByStops = ({ rax, orig_rax }: { readonly rax: bigint; readonly orig_rax: bigint }): boolean =>
  rax === INTERRUPTED && orig_rax < BigInt(returnsEintr.length) && returnsEintr[Number(orig_rax)] === 1

/** Of a register in the array of 32-bit halves that PTRACE_GETREGS fills. */
const RAX = UserRegs.offsets.rax / 4
const ORIG_RAX = UserRegs.offsets.orig_rax / 4

/** `registers` are the thread's, as 32-bit halves, from index `at`. Allocates nothing. */
export function keepWaiting(tid: number, status: number, registers: Int32Array, at: number): void {
  if (registers[at + RAX] !== -ERRNO.EINTR || registers[at + ORIG_RAX + 1] !== 0) return
  if (returnsEintr[registers[at + ORIG_RAX] as number] !== 1 || !isEventStop(status) || stopSignal(status) !== SIG.TRAP) return
  libc.ptrace(PTRACE.POKEUSER, tid, UserRegs.offsets.rax, -ERRNO.ERESTARTNOHAND)
}
