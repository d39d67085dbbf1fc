/** Borrowing a thread of the target: stopped, fit to make a call for us, with its way back on its stack. */
import { HotpatchError } from '../../errors.ts'
import { PTRACE, RSEQ_CS_OFFSET, RseqConfiguration, RseqCs } from '../../os/linux/definitions.ts'
import { libc, pinned, sleepMicroseconds } from '../../os/linux/libc.ts'
import type { CodeSearch, Gadgets } from './gadgets.ts'
import { machine } from './host-machine.ts'
import type { BackFrame, ThreadState } from './machine.ts'
import type { Memory } from './memory.ts'
import { type Mapping, numbersIn } from './proc.ts'
import { awaitStop, detach, isEventStop, isInterruption, lastStatus, leaveBehind, releaseStragglers, seize, WaitState } from './tracing.ts'

/** What a borrowed thread is needed of. */
export interface Target {
  readonly pid: number
  readonly memory: Memory
  readonly code: CodeSearch
  maps(): Mapping[]
}

export interface Borrowed {
  readonly tid: number
  /** What the thread gets back. */
  readonly state: ThreadState
  readonly frame: BackFrame
  readonly gadgets: Gadgets
  /** Of the memory under the frame. */
  readonly before: Uint8Array
}

/** Milliseconds that one thread gets to stop before the next is tried. */
const STOP_WITHIN = 50
/** Microseconds between two rounds over the threads. */
const BETWEEN_ROUNDS = 1000
/** How far below a thread's own stack its frame lies at most, and what must be free below the frame, bytes. */
const DISTANCE = 0x20000n
const FREE_BELOW = 0x2000n

const rseqBuffer = pinned(RseqConfiguration.size)

/** Why a stopped thread will not do; undefined: it will. */
type IsFit = (state: ThreadState, maps: readonly Mapping[]) => string | undefined

/**
 * Any thread that will do, main thread first. `maps` as the target has just told them. `isFit` may ask for more than that a system call can be made on it, and says why not.
 * Throws NO_SAFE_THREAD at `deadline` (performance.now()), PROCESS_GONE, PROCESS_TRACED, PERMISSION_DENIED.
 */
export function borrowThread(target: Target, maps: readonly Mapping[], deadline: number, isFit: IsFit = () => undefined): Borrowed {
  releaseStragglers()
  const { pid } = target
  const gadgets = target.code.gadgets(maps, machine.hasShadowStack(pid))
  const reasons = new Map<number, string>()
  for (let current = maps; ; current = target.maps()) {
    const tids = numbersIn(`/proc/${pid}/task`)
    if (tids.length === 0) throw new HotpatchError('PROCESS_GONE', `process ${pid} has ended`)
    for (const tid of tids) {
      const result = tryBorrow(target, current, gadgets, tid, isFit)
      if (typeof result !== 'string') return result
      reasons.set(tid, result)
      if (performance.now() > deadline) throw noneIsFit(target, reasons)
    }
    sleepMicroseconds(BETWEEN_ROUNDS)
  }
}

/** Throws PROCESS_GONE where it has ended meanwhile. */
function noneIsFit({ pid, maps }: Target, reasons: ReadonlyMap<number, string>): HotpatchError {
  maps()
  const [tid, reason] = [...reasons][0] as [number, string]
  const others = reasons.size > 1 ? `, and ${reasons.size - 1} others` : ''
  return new HotpatchError('NO_SAFE_THREAD', `no thread of process ${pid} will do: thread ${tid} ${reason}${others}`, {
    facts: { threads: Object.fromEntries(reasons) },
  })
}

/** The thread, or why it will not do; then it has been let go. */
function tryBorrow(target: Target, maps: readonly Mapping[], gadgets: Gadgets, tid: number, isFit: IsFit): Borrowed | string {
  if (!seize(target.pid, tid)) return 'has ended'
  machine.registers.noteWaiting(tid)
  libc.ptrace(PTRACE.INTERRUPT, tid, 0, 0)
  const stopped = awaitStop(tid, performance.now() + STOP_WITHIN)
  if (stopped === WaitState.gone) return 'has ended'
  if (stopped === WaitState.running) {
    leaveBehind(tid)
    return 'waits in the kernel without interruption'
  }
  const status = lastStatus()
  let borrowed: Borrowed | string = 'was about to handle a signal'
  try {
    if (isEventStop(status)) borrowed = prepare(target, maps, gadgets, tid, isFit)
    return borrowed
  } finally {
    if (typeof borrowed === 'string') {
      if (isInterruption(status)) machine.letGoUnused(tid)
      detach(tid, status)
    }
  }
}

function prepare(target: Target, maps: readonly Mapping[], gadgets: Gadgets, tid: number, isFit: IsFit): Borrowed | string {
  const state = machine.readThread(tid, target.memory)
  if (state === undefined) return 'has ended'
  if (typeof state === 'string') return state
  // The kernel would take our call there for the one that the thread waits in.
  if (state.instructionPointer === gadgets.syscall) return 'waits in the very instruction that is needed'
  if (isInRestartableSequence(target.memory, tid, state.instructionPointer)) return 'is inside a restartable sequence'
  const top = frameTop(maps, state)
  if (top === undefined) return 'is not on an ordinary stack, or has too little room on it'
  const unfit = isFit(state, maps)
  if (unfit !== undefined) return unfit
  const frame = machine.makeFrame(state, top, gadgets.restorer ?? 0n)
  const before = target.memory.tryRead(frame.address, frame.bytes.length)
  if (before === undefined) return 'has a stack that cannot be read'
  target.memory.write(frame.address, frame.bytes)
  return { tid, state, frame, gadgets, before }
}

/**
 * The end of a piece of stack that nobody uses: not just below the stack pointer (an alternate signal stack may lie within the
 * stack, with what the handler interrupted below it) but half way to the stack's end.
 * Only on what is certain to be a thread's stack: the main one, or one with the thread's own control block at its upper end, as the C
 * libraries make them. Coroutines' stacks are small, and what is below may belong to another.
 */
function frameTop(maps: readonly Mapping[], { stackPointer, threadPointer, frameSize }: ThreadState): bigint | undefined {
  const size = BigInt(frameSize)
  const region = maps.find((mapping) => mapping.start <= stackPointer && stackPointer < mapping.end)
  if (region === undefined || !region.write || !region.read) return undefined
  if (region.name !== '[stack]' && !(threadPointer > stackPointer && threadPointer < region.end)) return undefined
  const room = stackPointer - machine.redZone - region.start
  if (room < 2n * (size + FREE_BELOW)) return undefined
  const distance = room / 2n - size
  return stackPointer - machine.redZone - (distance < DISTANCE ? distance : DISTANCE)
}

/**
 * Whether the kernel would have to abort a restartable sequence (rseq(2)) on the way back: it decides that from the instruction
 * pointer, which we are about to change.
 */
function isInRestartableSequence(memory: Memory, tid: number, at: bigint): boolean {
  if (libc.ptrace(PTRACE.GET_RSEQ_CONFIGURATION, tid, RseqConfiguration.size, rseqBuffer.address) <= 0) return false
  const { rseq_abi_pointer } = RseqConfiguration.readAt(rseqBuffer.bytes, 0)
  if (rseq_abi_pointer === 0n) return false
  const pointer = memory.tryRead(rseq_abi_pointer + BigInt(RSEQ_CS_OFFSET), 8)
  const address = pointer === undefined ? 0n : new DataView(pointer.buffer).getBigUint64(0, true)
  const descriptor = address === 0n ? undefined : memory.tryRead(address, RseqCs.size)
  if (descriptor === undefined) return false
  const { start_ip, post_commit_offset } = RseqCs.readAt(descriptor, 0)
  return at >= start_ip && at < start_ip + post_commit_offset
}
