/**
 * Calling a function of the target on one of its threads.
 *
 * Other than a system call, a function may take locks and allocate, so it may only run on a thread that certainly holds none of the
 * allocator's, the loader's or the unwinder's: one that waits in a call that those never wait in, and in no signal handler, which
 * could have interrupted anything.
 *
 * The function returns into rt_sigreturn (sigframe.ts), which gives the thread back everything: registers, vector registers and signal mask.
 * So it gets home at every instant without us, also when the function takes longer than we wait.
 */
import { readlinkSync } from 'node:fs'
import { ERRNO, PTRACE, SYS } from '../../os/linux/definitions.ts'
import { libc } from '../../os/linux/libc.ts'
import {
  asItWas,
  type Borrowed,
  borrowThread,
  readRegisters,
  type Target,
  writeExtendedState,
  writeRegisters,
  writeSignalMask,
} from './borrow.ts'
import { findRestorers } from './gadgets.ts'
import { processFolder } from './proc.ts'
import { type Registers, restartingCall, type ThreadState } from './sigframe.ts'
import { awaitStop, detach, isEventStop, isSyscallStop, lastStatus, leaveBehind, pendingSignal, WaitState } from './tracing.ts'

/** What the allocator, the loader and the unwinder never wait in. A futex is not among them: it is what they take their locks with. */
const WAITING: ReadonlySet<bigint> = new Set(
  [
    SYS.poll,
    SYS.select,
    SYS.pause,
    SYS.nanosleep,
    SYS.accept,
    SYS.recvfrom,
    SYS.recvmsg,
    SYS.wait4,
    SYS.rt_sigtimedwait,
    SYS.clock_nanosleep,
    SYS.epoll_wait,
    SYS.waitid,
    SYS.pselect6,
    SYS.ppoll,
    SYS.epoll_pwait,
    SYS.accept4,
    SYS.epoll_pwait2,
    SYS.restart_syscall,
  ].map(BigInt),
)
/** What a file that is read from must be for the reading to be a wait for somebody else. */
const WAITED_FOR = /^(socket:|pipe:|anon_inode:|\/dev\/(pts\/|tty|console))/
/** Bytes of stack above the stack pointer that are looked through for a signal handler's return address. */
const LONGEST_STACK = 8 << 20
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn
const TRAP_AND_DIRECTION = 0x500n
const RESTART_BLOCK = BigInt.asUintN(64, -BigInt(ERRNO.ERESTART_RESTARTBLOCK))
const NO_CALL = 0xffff_ffff_ffff_ffffn

export const CallOutcome = {
  returned: 'returned',
  /** It raised a signal; the thread has been set back to where it was. */
  crashed: 'crashed',
  /** It is at work still, and goes home by itself. */
  running: 'running',
  /** The thread ended. */
  gone: 'gone',
} as const
export type CallOutcome = (typeof CallOutcome)[keyof typeof CallOutcome]

/**
 * Calls `address` with up to two arguments; what it returns is not kept.
 * @param within milliseconds for finding a thread, and as many again for the function
 * Throws NO_SAFE_THREAD when no thread is fit, PROCESS_GONE, PROCESS_TRACED, PERMISSION_DENIED.
 */
export function callFunction(target: Target, address: bigint, args: readonly bigint[], within: number): CallOutcome {
  const restorers = findRestorers(target.maps(), target.memory)
  const borrowed = borrowThread(target, performance.now() + within, (_, state) => whyUnfit(target, state, restorers))
  const { tid, state, frame } = borrowed
  const [rdi = 0n, rsi = 0n] = args
  const eflags = state.registers.eflags & ~TRAP_AND_DIRECTION
  const call = { rip: address, rsp: frame.stackPointer, rdi, rsi, rax: 0n, eflags, orig_rax: NO_CALL }
  if (!writeRegisters(tid, { ...state.registers, ...call })) return CallOutcome.gone
  writeSignalMask(tid, ALL_SIGNALS)
  return runToReturn(target, borrowed, performance.now() + within)
}

/** Follows the thread from system call to system call, until the one that takes it back. */
function runToReturn(target: Target, borrowed: Borrowed, deadline: number): CallOutcome {
  const { tid, frame } = borrowed
  for (;;) {
    libc.ptrace(PTRACE.SYSCALL, tid, 0, 0)
    const waited = awaitStop(tid, deadline)
    if (waited === WaitState.gone) return CallOutcome.gone
    if (waited === WaitState.running) {
      leaveBehind(tid)
      return CallOutcome.running
    }
    const status = lastStatus()
    if (isSyscallStop(status)) {
      const registers = readRegisters(tid)
      if (registers?.orig_rax === BigInt(SYS.rt_sigreturn) && registers.rsp === frame.stackPointer + 8n) return takeHome(target, borrowed)
    } else if (!isEventStop(status)) {
      // A fault: all other signals are blocked.
      restore(target, borrowed, asItWas(borrowed.state.registers))
      libc.ptrace(PTRACE.DETACH, tid, 0, 0)
      return pendingSignal(status) === 0 ? CallOutcome.gone : CallOutcome.crashed
    }
  }
}

/** At the entry of rt_sigreturn: lets it run, and stops at the place where the kernel restarts an interrupted call. */
function takeHome(target: Target, borrowed: Borrowed): CallOutcome {
  const { tid, state } = borrowed
  libc.ptrace(PTRACE.INTERRUPT, tid, 0, 0)
  libc.ptrace(PTRACE.CONT, tid, 0, 0)
  const waited = awaitStop(tid, performance.now() + 1000)
  if (waited === WaitState.running) leaveBehind(tid)
  if (waited !== WaitState.stopped) return CallOutcome.returned
  const status = lastStatus()
  // rt_sigreturn has wiped out what the kernel remembers of a call with a timeout; such a call is begun anew.
  restore(target, borrowed, state.registers.rax === RESTART_BLOCK ? restartingCall(state.registers) : asItWas(state.registers))
  detach(tid, status)
  return CallOutcome.returned
}

function restore(target: Target, { tid, state, frame, before }: Borrowed, registers: Registers): void {
  writeExtendedState(tid, state.xstate)
  writeSignalMask(tid, state.signalMask)
  const again = registers === state.registers || registers.rip === state.registers.rip ? registers : { ...registers, orig_rax: NO_CALL }
  if (writeRegisters(tid, again)) target.memory.store(frame.address, before)
}

/** Why a thread must not be made to run a function; undefined: it may. */
function whyUnfit(target: Target, state: ThreadState, restorers: ReadonlySet<bigint>): string | undefined {
  const { registers } = state
  if (restorers.size === 0) return 'could not get back by itself'
  const call = BigInt.asIntN(64, registers.orig_rax)
  const waits = call >= 0n && restartingCall(registers) !== registers
  if (!waits) return 'is not waiting in a system call'
  if (!WAITING.has(call) && !readsFromOthers(target.pid, call, registers.rdi)) return `waits in system call ${call}, maybe with a lock held`
  if (isInHandler(target, registers, restorers)) return 'is handling a signal'
  return undefined
}

function readsFromOthers(pid: number, call: bigint, fd: bigint): boolean {
  if (call !== BigInt(SYS.read)) return false
  try {
    return WAITED_FOR.test(readlinkSync(`${processFolder(pid)}/fd/${fd}`))
  } catch {
    return false
  }
}

function isInHandler(target: Target, { rsp, fs_base }: Registers, restorers: ReadonlySet<bigint>): boolean {
  const region = target.maps().find((mapping) => mapping.start <= rsp && rsp < mapping.end)
  if (region === undefined) return true
  const end = region.name !== '[stack]' && fs_base > rsp && fs_base < region.end ? fs_base : region.end
  if (end - rsp > BigInt(LONGEST_STACK)) return true
  const stack = target.memory.tryRead(rsp & ~7n, Number(end - (rsp & ~7n)) & ~7)
  if (stack === undefined) return true
  const words = new BigUint64Array(stack.buffer, 0, stack.length / 8)
  return words.some((word) => restorers.has(word))
}
