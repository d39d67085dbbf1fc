/** Calls that a stop would break (broken-calls.ts), kept waiting on x86-64: the kernel decides on the way back to user mode from rax and orig_rax. */
import { ERRNO, PTRACE, UserRegs } from '../../../os/linux/definitions.ts'
import { libc } from '../../../os/linux/libc.ts'
import { BROKEN_BY_STOPS } from '../broken-calls.ts'
import { isInterruption } from '../tracing.ts'

const INTERRUPTED = BigInt.asUintN(64, -BigInt(ERRNO.EINTR))

/** Whether registers show such a call, broken off. */
export const isBrokenByStops = ({ rax, orig_rax }: { readonly rax: bigint; readonly orig_rax: bigint }): boolean =>
  rax === INTERRUPTED && orig_rax < BigInt(BROKEN_BY_STOPS.length) && BROKEN_BY_STOPS[Number(orig_rax)] === 1

/** Of a register in the array of 32-bit halves that PTRACE_GETREGS fills. */
const RAX = UserRegs.offsets.rax / 4
const ORIG_RAX = UserRegs.offsets.orig_rax / 4

/** `registers` are the thread's, as 32-bit halves, from index `at`. Allocates nothing. */
export function keepWaiting(tid: number, status: number, registers: Int32Array, at: number): void {
  if (registers[at + RAX] !== -ERRNO.EINTR || registers[at + ORIG_RAX + 1] !== 0) return
  if (BROKEN_BY_STOPS[registers[at + ORIG_RAX] as number] !== 1 || !isInterruption(status)) return
  libc.ptrace(PTRACE.POKEUSER, tid, UserRegs.offsets.rax, -ERRNO.ERESTARTNOHAND)
}
