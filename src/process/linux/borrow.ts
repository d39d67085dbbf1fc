/** Borrowing a thread of the target: stopped, fit to make a call for us, with its way back on its stack. */
import { HotpatchError } from '../../errors.ts'
import { ERRNO, Iovec, NT, PTRACE, RSEQ_CS_OFFSET, RseqConfiguration, RseqCs, SIG, USER_CS, UserRegs } from '../../os/linux/definitions.ts'
import { errno, errnoName, libc, pinned, sleepMicroseconds } from '../../os/linux/libc.ts'
import { findGadgets, type Gadgets } from './gadgets.ts'
import type { Memory } from './memory.ts'
import { type Mapping, numbersIn, parseStatus, readProc } from './proc.ts'
import { isBrokenByStops } from './restart.ts'
import { withOwnCall } from './restarted.ts'
import { type BackFrame, frameSize, makeFrame, RED_ZONE, type Registers, type ThreadState } from './sigframe.ts'
import { awaitStop, detach, isEventStop, lastStatus, leaveBehind, releaseStragglers, seize, stopSignal, WaitState } from './tracing.ts'

/** What a borrowed thread is needed of. */
export interface Target {
  readonly pid: number
  readonly memory: Memory
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

const registersBuffer = pinned(UserRegs.size)
const xstateBuffer = pinned(0x10000)
const iovec = pinned(Iovec.size)
const maskBuffer = pinned(8)
const rseqBuffer = pinned(RseqConfiguration.size)

/**
 * Any thread that will do, main thread first. `isFit` may ask for more than that a system call can be made on it, and says why not.
 * Throws NO_SAFE_THREAD at `deadline` (performance.now()), PROCESS_GONE, PROCESS_TRACED, PERMISSION_DENIED.
 */
export function borrowThread(
  target: Target,
  deadline: number,
  isFit: (tid: number, state: ThreadState) => string | undefined = () => undefined,
): Borrowed {
  releaseStragglers()
  const { pid } = target
  const maps = target.maps()
  const gadgets = findGadgets(maps, target.memory, hasShadowStack(pid))
  const reasons = new Map<number, string>()
  for (;;) {
    const tids = numbersIn(`/proc/${pid}/task`)
    if (tids.length === 0) throw new HotpatchError('PROCESS_GONE', `process ${pid} has ended`)
    for (const tid of tids) {
      const result = tryBorrow(target, maps, gadgets, tid, isFit)
      if (typeof result !== 'string') return result
      reasons.set(tid, result)
      if (performance.now() > deadline) throw noneIsFit(pid, reasons)
    }
    sleepMicroseconds(BETWEEN_ROUNDS)
  }
}

function noneIsFit(pid: number, reasons: ReadonlyMap<number, string>): HotpatchError {
  const [tid, reason] = [...reasons][0] as [number, string]
  const others = reasons.size > 1 ? `, and ${reasons.size - 1} others` : ''
  return new HotpatchError('NO_SAFE_THREAD', `no thread of process ${pid} will do: thread ${tid} ${reason}${others}`, {
    facts: { threads: Object.fromEntries(reasons) },
  })
}

/** The thread, or why it will not do; then it has been let go. */
function tryBorrow(
  target: Target,
  maps: readonly Mapping[],
  gadgets: Gadgets,
  tid: number,
  isFit: (tid: number, state: ThreadState) => string | undefined,
): Borrowed | string {
  if (!seize(target.pid, tid)) return 'has ended'
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
      if (isEventStop(status) && stopSignal(status) === SIG.TRAP) putBackRegisters(tid)
      detach(tid, status)
    }
  }
}

function prepare(
  target: Target,
  maps: readonly Mapping[],
  gadgets: Gadgets,
  tid: number,
  isFit: (tid: number, state: ThreadState) => string | undefined,
): Borrowed | string {
  const registers = readRegisters(tid)
  if (registers === undefined) return 'has ended'
  if (registers.cs !== USER_CS) return 'runs 32-bit code'
  if (isInRestartableSequence(target.memory, tid, registers.rip)) return 'is inside a restartable sequence'
  const state: ThreadState = { registers, xstate: readExtendedState(tid), signalMask: readSignalMask(tid) }
  const top = frameTop(maps, state)
  if (top === undefined) return 'is not on an ordinary stack, or has too little room on it'
  const unfit = isFit(tid, state)
  if (unfit !== undefined) return unfit
  const frame = makeFrame({ ...state, registers: withOwnCall(registers, target.memory) }, top, gadgets.restorer ?? 0n)
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
function frameTop(maps: readonly Mapping[], { registers, xstate }: ThreadState): bigint | undefined {
  const { rsp, fs_base } = registers
  const region = maps.find((mapping) => mapping.start <= rsp && rsp < mapping.end)
  if (region === undefined || !region.write || !region.read) return undefined
  if (region.name !== '[stack]' && !(fs_base > rsp && fs_base < region.end)) return undefined
  const room = rsp - RED_ZONE - region.start
  if (room < 2n * (BigInt(frameSize(xstate)) + FREE_BELOW)) return undefined
  const distance = room / 2n - BigInt(frameSize(xstate))
  return rsp - RED_ZONE - (distance < DISTANCE ? distance : DISTANCE)
}

/**
 * Whether the kernel would have to abort a restartable sequence (rseq(2)) on the way back: it decides that from the instruction
 * pointer, which we are about to change.
 */
function isInRestartableSequence(memory: Memory, tid: number, rip: bigint): boolean {
  if (libc.ptrace(PTRACE.GET_RSEQ_CONFIGURATION, tid, RseqConfiguration.size, rseqBuffer.address) <= 0) return false
  const { rseq_abi_pointer } = RseqConfiguration.readAt(rseqBuffer.bytes, 0)
  if (rseq_abi_pointer === 0n) return false
  const pointer = memory.tryRead(rseq_abi_pointer + BigInt(RSEQ_CS_OFFSET), 8)
  const address = pointer === undefined ? 0n : new DataView(pointer.buffer).getBigUint64(0, true)
  const descriptor = address === 0n ? undefined : memory.tryRead(address, RseqCs.size)
  if (descriptor === undefined) return false
  const { start_ip, post_commit_offset } = RseqCs.readAt(descriptor, 0)
  return rip >= start_ip && rip < start_ip + post_commit_offset
}

export function readRegisters(tid: number): Registers | undefined {
  if (libc.ptrace(PTRACE.GETREGS, tid, 0, registersBuffer.address) !== 0) return undefined
  return UserRegs.readAt(registersBuffer.bytes, 0)
}

/** false: the thread has ended. */
export function writeRegisters(tid: number, registers: Registers): boolean {
  UserRegs.write(registersBuffer.view, 0, registers)
  return libc.ptrace(PTRACE.SETREGS, tid, 0, registersBuffer.address) === 0
}

/** For a thread that is let go without having been used: see restart.ts. */
function putBackRegisters(tid: number): void {
  const registers = readRegisters(tid)
  if (registers !== undefined && isBrokenByStops(registers)) writeRegisters(tid, asItWas(registers))
}

/** The registers that a thread gets back: its own, and a call that a stop would have broken waits on (see restart.ts). */
export const asItWas = (registers: Registers): Registers =>
  isBrokenByStops(registers) ? { ...registers, rax: BigInt.asUintN(64, -BigInt(ERRNO.ERESTARTNOHAND)) } : registers

function readExtendedState(tid: number): Uint8Array {
  Iovec.write(iovec.view, 0, { iov_base: BigInt(xstateBuffer.address), iov_len: BigInt(xstateBuffer.bytes.length) })
  if (libc.ptrace(PTRACE.GETREGSET, tid, NT.X86_XSTATE, iovec.address) !== 0)
    throw new HotpatchError('DEFECT', `the vector registers of thread ${tid} cannot be read (${errnoName(errno())})`)
  return xstateBuffer.bytes.slice(0, Number(Iovec.readAt(iovec.bytes, 0).iov_len))
}

/** Exactly the length that was read: any other is refused (EFAULT) on processors with AMX. */
export function writeExtendedState(tid: number, xstate: Uint8Array): void {
  xstateBuffer.bytes.set(xstate)
  Iovec.write(iovec.view, 0, { iov_base: BigInt(xstateBuffer.address), iov_len: BigInt(xstate.length) })
  libc.ptrace(PTRACE.SETREGSET, tid, NT.X86_XSTATE, iovec.address)
}

function readSignalMask(tid: number): bigint {
  libc.ptrace(PTRACE.GETSIGMASK, tid, 8, maskBuffer.address)
  return maskBuffer.view.getBigUint64(0, true)
}

export function writeSignalMask(tid: number, mask: bigint): void {
  maskBuffer.view.setBigUint64(0, mask, true)
  libc.ptrace(PTRACE.SETSIGMASK, tid, 8, maskBuffer.address)
}

const hasShadowStack = (pid: number): boolean =>
  (parseStatus(readProc(`/proc/${pid}/status`) ?? '').get('x86_Thread_features') ?? '').includes('shstk')
