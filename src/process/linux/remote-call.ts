/**
 * Calling a function of the target on one of its threads.
 *
 * Other than a system call, a function may take locks and allocate, so it may only run on a thread that certainly holds none of the
 * allocator's, the loader's or the unwinder's: one that waits in a call that those never wait in, and in no signal handler, which
 * could have interrupted anything.
 *
 * The function returns into rt_sigreturn (x64/sigframe.ts), which gives the thread back everything: registers, vector registers and signal mask.
 * So it gets home at every instant without us, also when the function takes longer than we wait.
 */
import { readlinkSync } from 'node:fs'
import { PTRACE } from '../../os/linux/definitions.ts'
import { libc } from '../../os/linux/libc.ts'
import { ADDRESS_END, SYS } from '../../os/linux/syscalls.ts'
import { type Borrowed, borrowThread, type Target } from './borrow.ts'
import { machine } from './host-machine.ts'
import type { ThreadState } from './machine.ts'
import { inProcessFolder, type Mapping } from './proc.ts'
import { ALL_SIGNALS, writeSignalMask } from './signal-mask.ts'
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
  const maps = target.maps()
  const restorers = target.code.restorers(maps)
  const borrowed = borrowThread(target, maps, performance.now() + within, (state, current) => whyUnfit(target, current, state, restorers))
  const { tid, state, frame, gadgets } = borrowed
  const request = { at: address, stackPointer: frame.stackPointer, returnTo: gadgets.restorer, args }
  if (!machine.setUpFunction(tid, state, request)) return CallOutcome.gone
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
      if (machine.isComingBack(tid, frame)) return takeHome(target, borrowed)
    } else if (!isEventStop(status)) {
      // A fault: all other signals are blocked.
      restore(target, borrowed, machine.giveBack)
      libc.ptrace(PTRACE.DETACH, tid, 0, 0)
      return pendingSignal(status) === 0 ? CallOutcome.gone : CallOutcome.crashed
    }
  }
}

/** At the entry of rt_sigreturn: lets it run, and stops at the place where the kernel restarts an interrupted call. */
function takeHome(target: Target, borrowed: Borrowed): CallOutcome {
  const { tid } = borrowed
  libc.ptrace(PTRACE.INTERRUPT, tid, 0, 0)
  libc.ptrace(PTRACE.CONT, tid, 0, 0)
  const waited = awaitStop(tid, performance.now() + 1000)
  if (waited === WaitState.running) leaveBehind(tid)
  if (waited !== WaitState.stopped) return CallOutcome.returned
  const status = lastStatus()
  restore(target, borrowed, machine.giveBackAfterReturn)
  detach(tid, status)
  return CallOutcome.returned
}

function restore(target: Target, { tid, state, frame, before }: Borrowed, giveBack: (tid: number, state: ThreadState) => boolean): void {
  machine.giveBackVectors(tid, state)
  writeSignalMask(tid, state.signalMask)
  if (giveBack(tid, state)) target.memory.store(frame.address, before)
}

/** Why a thread must not be made to run a function; undefined: it may. */
function whyUnfit(target: Target, maps: readonly Mapping[], state: ThreadState, restorers: ReadonlySet<bigint>): string | undefined {
  const { waitsIn } = state
  if (restorers.size === 0) return 'could not get back by itself'
  if (waitsIn === undefined) return 'is not waiting in a system call'
  const { number, firstArgument } = waitsIn
  if (!WAITING.has(number) && !readsFromOthers(target.pid, number, firstArgument))
    return `waits in system call ${number}, maybe with a lock held`
  if (isInHandler(target, maps, state, restorers)) return 'is handling a signal'
  return undefined
}

function readsFromOthers(pid: number, call: bigint, fd: bigint): boolean {
  if (call !== BigInt(SYS.read)) return false
  try {
    return WAITED_FOR.test(inProcessFolder(pid, (folder) => readlinkSync(`${folder}/fd/${fd}`)))
  } catch {
    return false
  }
}

function isInHandler(
  target: Target,
  maps: readonly Mapping[],
  { stackPointer, threadPointer, returnAddress }: ThreadState,
  restorers: ReadonlySet<bigint>,
): boolean {
  const region = maps.find((mapping) => mapping.start <= stackPointer && stackPointer < mapping.end)
  if (region === undefined) return true
  const end = region.name !== '[stack]' && threadPointer > stackPointer && threadPointer < region.end ? threadPointer : region.end
  if (end - stackPointer > BigInt(LONGEST_STACK)) return true
  const start = stackPointer & ~7n
  const stack = target.memory.tryRead(start, Number(end - start) & ~7)
  if (stack === undefined) return true
  const words = new BigUint64Array(stack.buffer, 0, stack.length / 8)
  // On ARM64 what lies on a stack may be signed in the bits above the address.
  return restorers.has(returnAddress) || words.some((word) => restorers.has(word & (ADDRESS_END - 1n)))
}
