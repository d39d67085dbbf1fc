/**
 * System calls made inside the target, on one of its threads, with instructions that it has.
 *
 * The thread runs exactly one instruction of its own code for us, the system call, from one stop to the next: the stop at the call's entry
 * and the stop at its exit (PTRACE_SYSCALL). Single-stepping would do as well, but a tracer that dies during a step leaves the target with a
 * SIGTRAP that kills it. At every instant in between, a thread that is let go by our death gets back by itself (x64/sigframe.ts);
 * where the target has no instructions for that (Gadgets.restorer is undefined), that instant of some 20 µs is not covered.
 *
 * Signals wait meanwhile: the thread's mask blocks them all, from after its registers were changed until before they are put back, so that
 * at every instant either the mask is the thread's own or the way back restores it. A signal that
 * got ahead of that is handled first: the thread gets its registers back, and the call is tried again.
 */
import { HotpatchError } from '../../errors.ts'
import { PTRACE } from '../../os/linux/definitions.ts'
import { libc } from '../../os/linux/libc.ts'
import { SYS, type SyscallName } from '../../os/linux/syscalls.ts'
import { type Borrowed, borrowThread, type Target } from './borrow.ts'
import { machine } from './host-machine.ts'
import { forbiddenBySeccomp, judge, type Program, readFilters } from './seccomp.ts'
import { ALL_SIGNALS, writeSignalMask } from './signal-mask.ts'
import { awaitStop, detach, isEventStop, isSyscallStop, lastStatus, leaveBehind, WaitState } from './tracing.ts'

/** Milliseconds for one call, the waiting for a thread to borrow included. */
const WITHIN = 5000
/** From the system call to what follows it. */
const SYSCALL_SIZE = BigInt(machine.code.syscall.length)

export class RemoteSyscalls {
  readonly #target: Target
  #borrowed: Borrowed | undefined
  /** Of the borrowed thread. */
  #filters: readonly Program[] = []
  /** The thread stands at a call's exit, not where it was interrupted. */
  #used = false

  constructor(target: Target) {
    this.#target = target
  }

  /** Throws MAPPING_REFUSED when a seccomp filter of the target would not let such a call happen; none is made. */
  require(name: SyscallName, ...args: readonly bigint[]): void {
    const borrowed = this.#borrow(performance.now() + WITHIN)
    const verdict = judge(this.#filters, SYS[name], args, borrowed.gadgets.syscall + SYSCALL_SIZE)
    if (!verdict.allowed) throw forbiddenBySeccomp(this.#target.pid, name, verdict.action)
  }

  /**
   * The result as the kernel gives it: negative error numbers. Text arguments are put into the target for the time of the call.
   * Throws MAPPING_REFUSED (a seccomp filter), NO_SAFE_THREAD, PROCESS_GONE, PROCESS_TRACED, PERMISSION_DENIED.
   */
  call(name: SyscallName, ...args: readonly (bigint | string)[]): bigint {
    const deadline = performance.now() + WITHIN
    for (;;) {
      const borrowed = this.#borrow(deadline)
      if (!this.#begin(borrowed, name, args)) {
        this.#borrowed = undefined
        this.#used = false
        if (performance.now() > deadline) throw this.#neverBegun()
        continue
      }
      this.#used = true
      return this.#finish(borrowed, deadline)
    }
  }

  /** Lets the thread go as it was. May be called at any time; a later `call` borrows a thread anew. */
  giveBack(): void {
    const borrowed = this.#borrowed
    if (borrowed === undefined) return
    this.#borrowed = undefined
    const { tid } = borrowed
    let status = 0
    if (this.#used) {
      // On from the call's exit, where the kernel has passed the place that restarts interrupted calls, to a stop before that place.
      libc.ptrace(PTRACE.INTERRUPT, tid, 0, 0)
      libc.ptrace(PTRACE.CONT, tid, 0, 0)
      const state = awaitStop(tid, performance.now() + WITHIN)
      if (state === WaitState.running) leaveBehind(tid)
      if (state !== WaitState.stopped) return
      status = lastStatus()
    }
    this.#used = false
    this.#restore(borrowed, status)
  }

  /** Throws PROCESS_GONE where it has ended meanwhile. */
  #neverBegun(): HotpatchError {
    const { pid, maps } = this.#target
    maps()
    return new HotpatchError('NO_SAFE_THREAD', `process ${pid} is being stopped again and again`)
  }

  #borrow(deadline: number): Borrowed {
    if (this.#borrowed !== undefined) return this.#borrowed
    const borrowed = borrowThread(this.#target, this.#target.maps(), deadline)
    this.#borrowed = borrowed
    this.#filters = readFilters(this.#target.pid, borrowed.tid)
    return borrowed
  }

  /** true: the thread stands at the call's entry. false: it could not be begun, and the thread has been let go. */
  #begin(borrowed: Borrowed, name: SyscallName, args: readonly (bigint | string)[]): boolean {
    const { tid, frame, gadgets, state } = borrowed
    const values = this.#placeTexts(borrowed, args)
    const verdict = judge(this.#filters, SYS[name], values, gadgets.syscall + SYSCALL_SIZE)
    if (!verdict.allowed) throw forbiddenBySeccomp(this.#target.pid, name, verdict.action)
    const request = { at: gadgets.syscall, stackPointer: frame.stackPointer, returnTo: gadgets.restorer, args: values }
    if (!machine.setUpSyscall(tid, state, SYS[name], request)) return false
    writeSignalMask(tid, ALL_SIGNALS)
    do if (!this.#toNextStop(tid)) return false
    while (
      // Job control stops a thread that we make run; it stops again, by itself, when it is let go.
      isEventStop(lastStatus())
    )
    if (isSyscallStop(lastStatus())) return true
    this.#restore(borrowed, lastStatus())
    return false
  }

  #finish({ tid }: Borrowed, deadline: number): bigint {
    libc.ptrace(PTRACE.SYSCALL, tid, 0, 0)
    const state = awaitStop(tid, deadline)
    const result = state === WaitState.stopped ? machine.result(tid) : undefined
    if (result !== undefined) return result
    this.#borrowed = undefined
    if (state === WaitState.running) leaveBehind(tid)
    throw new HotpatchError('PROCESS_GONE', `thread ${tid} of process ${this.#target.pid} ended while it made a system call`)
  }

  /** false: the thread has ended, or does not stop (then it is let go as soon as it does). */
  #toNextStop(tid: number): boolean {
    libc.ptrace(PTRACE.SYSCALL, tid, 0, 0)
    const state = awaitStop(tid, performance.now() + WITHIN)
    if (state === WaitState.running) leaveBehind(tid)
    return state === WaitState.stopped
  }

  #restore({ tid, state, frame, before }: Borrowed, status: number): void {
    writeSignalMask(tid, state.signalMask)
    // After this the thread needs no way back, so what lay under it may return.
    if (machine.giveBack(tid, state)) this.#target.memory.store(frame.address, before)
    detach(tid, status)
  }

  #placeTexts({ frame }: Borrowed, args: readonly (bigint | string)[]): bigint[] {
    let at = frame.scratch
    return args.map((argument) => {
      if (typeof argument === 'bigint') return argument
      const bytes = Buffer.from(`${argument}\0`, 'utf8')
      const address = at
      this.#target.memory.write(address, bytes)
      at += BigInt(bytes.length)
      return address
    })
  }
}
