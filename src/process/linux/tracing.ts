/**
 * Attaching to threads, stopping them, letting them go. All of it belongs to the OS thread that calls.
 *
 * PTRACE_SEIZE attaches without stopping and without sending a signal; PTRACE_INTERRUPT stops without a signal either. A thread
 * may, between the two, stop for a signal of its own: it is stopped all the same, and detaching hands that signal on.
 * Should hotpatch die, the kernel detaches every thread and lets it run.
 */
import { HotpatchError } from '../../errors.ts'
import { ERRNO, PTRACE, PTRACE_EVENT, PTRACE_O, SIG, W } from '../../os/linux/definitions.ts'
import { startKicks, stopKicks } from '../../os/linux/kicks.ts'
import { errno, errnoName, libc, pinned } from '../../os/linux/libc.ts'
import { permissionDenied, refuseTraced } from './open.ts'
import { parseStat, readProc } from './proc.ts'

const statusWord = pinned(8)

/**
 * Threads that were told to stop, did not in time, and cannot be detached while they run. Each is let go as soon as it stops: by the
 * next call on any process, or by a timer; when hotpatch ends, by the kernel.
 */
const stragglers = new Set<number>()
let reaper: NodeJS.Timeout | undefined

/** true: attached. false: the thread is ending or has ended. Throws PROCESS_TRACED, PERMISSION_DENIED. */
export function seize(pid: number, tid: number): boolean {
  // One that did not stop in time is attached still.
  if (stragglers.delete(tid)) return true
  // With TRACESYSGOOD a stop at a system call reports 128 + SIGTRAP: no signal's number, so nothing is delivered if we die in it.
  if (libc.ptrace(PTRACE.SEIZE, tid, 0, PTRACE_O.TRACESYSGOOD) === 0) return true
  const reason = errno()
  if (reason === ERRNO.ESRCH || isEnding(pid, tid)) return false
  refuseTraced(pid, `/proc/${pid}/task/${tid}/status`)
  if (reason === ERRNO.EPERM) throw permissionDenied(pid, 'traced')
  throw new HotpatchError('DEFECT', `thread ${tid} of process ${pid} cannot be traced (${errnoName(reason)})`)
}

export function isEnding(pid: number, tid: number): boolean {
  const state = parseStat(readProc(`/proc/${pid}/task/${tid}/stat`) ?? '')?.state
  return state === undefined || state === 'Z' || state === 'X'
}

/** Whether it runs, or waits for nothing but a processor. */
export const isOnProcessor = (pid: number, tid: number): boolean =>
  parseStat(readProc(`/proc/${pid}/task/${tid}/stat`) ?? '')?.state === 'R'

/** What waitpid says of one thread. */
export const WaitState = { running: 0, stopped: 1, gone: 2 } as const
export type WaitState = (typeof WaitState)[keyof typeof WaitState]

/** Asks once, without waiting. After `stopped`, lastStatus() is its wait status. Never asks about any other thread. */
export const poll = (tid: number): WaitState => waitFor(tid, W.NOHANG | W.ALL)

/** Waits until the thread stops or ends, or until the next kick (os/linux/kicks.ts), which startKicks() must have switched on. */
export const waitUntilKicked = (tid: number): WaitState => waitFor(tid, W.ALL)

function waitFor(tid: number, options: number): WaitState {
  const result = libc.waitpid(tid, statusWord.address, options)
  if (result === 0) return WaitState.running
  if (result < 0) return errno() === ERRNO.EINTR ? WaitState.running : WaitState.gone
  return (lastStatus() & 0xff) === 0x7f ? WaitState.stopped : WaitState.gone
}

export const lastStatus = (): number => statusWord.view.getInt32(0, true)

export const stopSignal = (status: number): number => (status >> 8) & 0xff
export const stopEvent = (status: number): number => status >> 16

/** The stop that PTRACE_INTERRUPT asks for, or a stop of job control: no signal is under way. */
export const isEventStop = (status: number): boolean => stopEvent(status) === PTRACE_EVENT.STOP
/** The stop that PTRACE_INTERRUPT asks for, and none of job control. */
export const isInterruption = (status: number): boolean => isEventStop(status) && stopSignal(status) === SIG.TRAP
export const isSyscallStop = (status: number): boolean => stopEvent(status) === 0 && stopSignal(status) === (SIG.TRAP | 0x80)

/** What detaching must hand on: the signal that the thread was stopped for, or 0. */
export const pendingSignal = (status: number): number => (stopEvent(status) === 0 && !isSyscallStop(status) ? stopSignal(status) : 0)

/**
 * Waits for a stop until `deadline` (performance.now()). The end of a main thread is not told as long as another thread of its process has ended that we are attached to and have
 * not asked about: so stragglers are asked meanwhile.
 */
export function awaitStop(tid: number, deadline: number): WaitState {
  let state = poll(tid)
  if (state !== WaitState.running) return state
  startKicks()
  try {
    while (state === WaitState.running && performance.now() < deadline) {
      releaseStragglers()
      state = waitUntilKicked(tid)
    }
  } finally {
    stopKicks()
  }
  return state
}

/** Lets a stopped thread go, for good. */
export const detach = (tid: number, status: number): void => void libc.ptrace(PTRACE.DETACH, tid, 0, pendingSignal(status))

export function leaveBehind(tid: number): void {
  stragglers.add(tid)
  // Not kept alive for it: when hotpatch ends, the kernel lets go as well.
  reaper ??= setInterval(releaseStragglers, 5).unref()
}

export function releaseStragglers(): void {
  for (const tid of stragglers) {
    const state = poll(tid)
    if (state === WaitState.running) continue
    if (state === WaitState.stopped) detach(tid, lastStatus())
    stragglers.delete(tid)
  }
  if (stragglers.size === 0 && reaper !== undefined) {
    clearInterval(reaper)
    reaper = undefined
  }
}
