/**
 * Calls that a stop would break (broken-calls.ts), kept waiting on ARM64. The kernel has decided on EINTR before a tracer sees the thread, so
 * the thread is taken back to its `svc` by hand. The call's first argument, which its result has replaced, is known to the kernel alone: it shows
 * it in /proc/TID/syscall to whoever has told it that the thread is in that call, or has shown it before the stop (waiting.ts). Where neither is so, the
 * program sees EINTR, as after SIGSTOP and SIGCONT (signal(7)). All is written at once, so a death in between harms nothing.
 */
import { assembleWords, SVC } from '../../../machine/arm64/remote-call.ts'
import { NO_SYSCALL, NT_ARM64, USER_PT_REGS, USER_PT_REGS_SIZE } from '../../../os/linux/arm64.ts'
import { ERRNO, PTRACE } from '../../../os/linux/definitions.ts'
import { libc } from '../../../os/linux/libc.ts'
import { BROKEN_BY_STOPS } from '../broken-calls.ts'
import type { Memory } from '../memory.ts'
import { parseStatus, readProcOrNothing } from '../proc.ts'
import { writeRegisterSet } from '../register-sets.ts'
import { isInterruption } from '../tracing.ts'
import { notedFirstArgument } from './waiting.ts'

const X8 = 8
const { sp: SP, pc: PC, words: WORDS } = USER_PT_REGS
const INTERRUPTED = BigInt.asUintN(64, -BigInt(ERRNO.EINTR))
const SVC_BYTES = assembleWords([SVC])
const SVC_WORD = BigInt(SVC[0])

/** As RegisterFile.keepWaiting. `status` undefined: it is known to be an interruption. */
export function keepWaiting(tid: number, status: number | undefined, registers: Int32Array, at: number): void {
  if (registers[at] !== -ERRNO.EINTR || registers[at + 1] !== -1 || registers[at + 2 * X8 + 1] !== 0) return
  if (BROKEN_BY_STOPS[registers[at + 2 * X8] as number] !== 1 || (status !== undefined && !isInterruption(status))) return
  const words = new BigUint64Array(registers.buffer, registers.byteOffset + 4 * at, WORDS).slice()
  const before = BigInt(libc.ptrace(PTRACE.PEEKDATA, tid, Number(words[PC]) - SVC_BYTES.length, 0)) & 0xffff_ffffn
  if (before !== SVC_WORD || isWanted(tid)) return
  const back = takenBack(tid, words)
  if (back !== undefined) writeRegisterSet(tid, NT_ARM64.PRSTATUS, new Uint8Array(back.buffer, 0, USER_PT_REGS_SIZE))
}

/** A stopped thread's registers, as it shall go on with them. */
export function resumed(tid: number, words: BigUint64Array, memory: Memory): BigUint64Array {
  const call = words[X8] as bigint
  if (words[0] !== INTERRUPTED || call >= BigInt(BROKEN_BY_STOPS.length) || BROKEN_BY_STOPS[Number(call)] !== 1) return words
  const before = memory.tryRead((words[PC] as bigint) - BigInt(SVC_BYTES.length), SVC_BYTES.length)
  if (before === undefined || Buffer.compare(before, SVC_BYTES) !== 0 || isWanted(tid)) return words
  return takenBack(tid, words) ?? words
}

/** Back on the `svc`, with the first argument in x0; undefined: the kernel does not tell it. */
function takenBack(tid: number, words: BigUint64Array): BigUint64Array | undefined {
  setSyscall(tid, Number(words[X8]))
  const [number, shown] = readProcOrNothing(`/proc/${tid}/syscall`).split(' ')
  setSyscall(tid, NO_SYSCALL)
  if (shown === undefined || Number(number) !== Number(words[X8])) return undefined
  const first = BigInt(shown) === words[0] ? noted(tid, words) : BigInt(shown)
  if (first === undefined) return undefined
  const back = words.slice()
  back[0] = first
  back[PC] = (words[PC] as bigint) - BigInt(SVC_BYTES.length)
  return back
}

const noted = (tid: number, words: BigUint64Array): bigint | undefined =>
  notedFirstArgument(tid, {
    words,
    call: Number(words[X8]),
    stackPointer: words[SP] as bigint,
    instructionPointer: words[PC] as bigint,
  })

function setSyscall(tid: number, number: number): void {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setInt32(0, number, true)
  writeRegisterSet(tid, NT_ARM64.ARM_SYSTEM_CALL, bytes)
}

/** Whether a signal waits for the thread: its handler may want the call to end with EINTR. */
function isWanted(tid: number): boolean {
  const status = parseStatus(readProcOrNothing(`/proc/${tid}/status`))
  const mask = (name: string) => BigInt(`0x${status.get(name) ?? '0'}`)
  return ((mask('SigPnd') | mask('ShdPnd')) & ~mask('SigBlk') & mask('SigCgt')) !== 0n
}
