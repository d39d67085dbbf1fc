/**
 * What the Linux backend needs of a processor: how a stopped thread's registers are got, used and given back. One record for each, in x64/ and
 * arm64/. A backend runs on the processor of the processes that it opens, so the host's is the one.
 */
import type { Memory } from './memory.ts'

/** A stopped thread, as it was found. What more there is to it, its machine knows. */
export interface ThreadState {
  readonly instructionPointer: bigint
  readonly stackPointer: bigint
  /** Where the thread's own data begins. */
  readonly threadPointer: bigint
  /** What the processor keeps in a register of it, while it is not on the stack; 0 where it keeps none. */
  readonly returnAddress: bigint
  /** The system call that it waits in or is about to make; undefined: none that could be begun anew. */
  readonly waitsIn: { readonly number: bigint; readonly firstArgument: bigint } | undefined
  readonly signalMask: bigint
  /** How many bytes a frame for it needs at most. */
  readonly frameSize: number
}

/** A way back for a borrowed thread without us: see x64/sigframe.ts. */
export interface BackFrame {
  /** What goes into memory at `address`. */
  readonly bytes: Uint8Array
  readonly address: bigint
  /** The stack pointer for the borrowed call. */
  readonly stackPointer: bigint
  /** SCRATCH_SIZE bytes for arguments, inside of `bytes`. */
  readonly scratch: bigint
}

export const SCRATCH_SIZE = 256

/** General registers of many threads, in memory that the system fills: words of 8 bytes. */
export interface RegisterFile {
  readonly words: number
  /** Words from the start of a thread's registers. */
  readonly instructionPointer: number
  readonly stackPointer: number
  /** The word of each register, by DWARF's numbers. */
  readonly dwarf: readonly number[]
  /** Fills `words` words at `address`, memory of ours. false: the thread has ended. */
  fetch(tid: number, address: number): boolean
  /** NaN where it is not known. */
  threadPointer(tid: number, words: BigUint64Array, at: number): number
  /** For a thread that is about to be stopped: what `keepWaiting` will want to know. */
  noteWaiting(tid: number): void
  /**
   * For a thread that stopped with `status` and is about to be let go: a call that the stop has broken off goes on waiting (restart.ts).
   * `registers` are the thread's, as 32-bit halves, from index `at`.
   */
  keepWaiting(tid: number, status: number, registers: Int32Array, at: number): void
}

export interface CallRequest {
  readonly at: bigint
  readonly stackPointer: bigint
  /** Where the thread is to go afterwards, should we be gone; undefined where there is no such place. */
  readonly returnTo: bigint | undefined
  readonly args: readonly bigint[]
}

export interface LinuxMachine {
  readonly registers: RegisterFile
  readonly code: {
    /** Of the instruction that makes a system call. */
    readonly syscall: Uint8Array
    /** The same, followed by a return. */
    readonly syscallReturn: Uint8Array
    readonly restorers: readonly Uint8Array[]
    /** Instructions begin at multiples of it. */
    readonly alignment: number
  }
  /** What a function may use below its stack pointer. */
  readonly redZone: bigint
  /** Whether returns of the process are checked against a second stack, so that none leads where no call came from. */
  hasShadowStack(pid: number): boolean
  /** A text: why it must not be borrowed. undefined: it has ended. */
  readThread(tid: number, memory: Memory): ThreadState | string | undefined
  /** @param top the frame ends here or below  @param restorer what the call returns to; 0 where there is nothing */
  makeFrame(state: ThreadState, top: bigint, restorer: bigint): BackFrame
  /** Each of these answers false when the thread has ended. */
  setUpSyscall(tid: number, state: ThreadState, number: number, request: CallRequest): boolean
  setUpFunction(tid: number, state: ThreadState, request: CallRequest): boolean
  /** What a call has returned; undefined: the thread has ended. */
  result(tid: number): bigint | undefined
  /** At the stop before a system call: whether it is the one that takes everything back from `frame`. */
  isComingBack(tid: number, frame: BackFrame): boolean
  /** The general registers: as they were, an interrupted call goes on. */
  giveBack(tid: number, state: ThreadState): boolean
  /** The same after rt_sigreturn, which has wiped out what the kernel remembers of a call with a timeout. */
  giveBackAfterReturn(tid: number, state: ThreadState): boolean
  /** Vector registers. */
  giveBackVectors(tid: number, state: ThreadState): void
  /** For a thread that is let go without having been used: see restart.ts. */
  letGoUnused(tid: number): void
}
