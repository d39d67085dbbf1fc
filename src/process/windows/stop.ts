/**
 * The switch: every thread stopped, one look, a few writes, everything let go.
 *
 * What can be done outside the stop is done before or after it: handles and buffers, the bytes that a failed write is taken
 * back to, and the protection of the pages to be written. Inside there are only suspensions, contexts, stores and resumptions.
 *
 * SuspendThread only asks: the thread stops when it next leaves the kernel or takes its interrupt. GetThreadContext waits for
 * that, so a thread whose context was got stands still. Threads are suspended one by one, never the process as a whole, because
 * only so each thread's count is known to have been raised exactly once, whatever the target does with its own threads.
 * Windows does not let a target go when the process that suspended it dies; the watchdog does (watchdog.ts).
 */
import { HotpatchError } from '../../errors.ts'
import { CONTEXT_AMD64, CONTEXT_ARM64 } from '../../os/windows/definitions.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { addressOf } from '../../os/windows/library.ts'
import { ERROR, errorName, lastError } from '../../os/windows/status.ts'
import type { Blocker, CatchRequest, StackWindow, StoppedThreads, SwitchOutcome, SwitchRequest } from '../contract.ts'
import { NOBODY } from '../nobody.ts'
import { flushCode, openPages, readInto, readMemory, storeBytes } from './memory.ts'
import { Stacks } from './stacks.ts'
import { BOARD_THREADS, MARK, type StopBoard } from './stop-board.ts'
import { hasEnded, type Target } from './target.ts'
import { openThreads, suspendCount, type ThreadHandle, threadHasBegun, threadHasEnded } from './threads.ts'
import { watchedBoard } from './watchdog.ts'

const SUSPEND_FAILED = 0xffff_ffff
/** Room for threads that come into being between the preparation and the stop. */
const SPARE = 64

/** Throws STOP_TIMEOUT, MEMORY_UNWRITABLE, PROCESS_GONE, PERMISSION_DENIED. */
export function switchCode(target: Target, request: SwitchRequest): SwitchOutcome {
  const ranges = request.writes.map(({ address, bytes }) => ({ address, length: bytes.length }))
  const pages = openPages(target, ranges)
  const crew = new Crew(target, new Stacks(target, request.stacks), watchedBoard())
  let blocker: Blocker | undefined
  let began = 0n
  let ended = 0n
  let threads = 0
  try {
    const before = ranges.map(({ address, length }) => readMemory(target, address, length))
    // Read once to have the memory that the stop reads into, and to know that it can be read.
    const copied = (request.copies ?? []).map(({ from, length }) => readMemory(target, from, length))
    crew.prepare()
    began = process.hrtime.bigint()
    try {
      if (request.catchFirst !== undefined) crew.catchFirst(request.catchFirst)
      request.rehearse?.(NOBODY)
      began = process.hrtime.bigint()
      crew.stop(request.stopTimeout)
      threads = crew.count
      crew.readStacks()
      blocker = request.inspect(crew)
      if (blocker === undefined) {
        copyAll(target, request.copies ?? [], copied)
        writeAll(target, request.writes, before)
      }
    } finally {
      crew.resume()
      ended = process.hrtime.bigint()
    }
  } finally {
    crew.close()
    pages.close()
  }
  const stoppedMicroseconds = Number(ended - began) / 1000
  return blocker === undefined
    ? { switched: true, stoppedMicroseconds, threads }
    : { switched: false, blocker, stoppedMicroseconds, threads }
}

/** `into`: memory for each, as long as it is. */
function copyAll(target: Target, copies: NonNullable<SwitchRequest['copies']>, into: readonly Uint8Array[]): void {
  for (const [i, { from, to }] of copies.entries()) {
    const bytes = into[i] as Uint8Array
    readInto(target, from, bytes)
    storeBytes(target, to, bytes)
  }
}

/** In order; if one fails, those done are taken back. */
function writeAll(target: Target, writes: SwitchRequest['writes'], before: readonly Uint8Array[]): void {
  let done = 0
  try {
    for (const { address, bytes } of writes) {
      storeBytes(target, address, bytes)
      done++
    }
  } catch (error) {
    for (let i = done - 1; i >= 0; i--) {
      const [write, original] = [writes[i], before[i]]
      if (write !== undefined && original !== undefined && !hasEnded(target)) storeBytes(target, write.address, original)
    }
    throw error
  } finally {
    for (const { address, bytes } of writes) flushCode(target, address, bytes.length)
  }
}

/** A thread and its place on the watchdog's board. */
interface Member extends ThreadHandle {
  readonly slot: number
}

/** The threads of a process while they are stopped. */
class Crew implements StoppedThreads {
  readonly #target: Target
  readonly #layout: typeof CONTEXT_AMD64 | typeof CONTEXT_ARM64
  /** Every thread that was opened, in the order of creation. */
  readonly #opened: Member[] = []
  readonly #ids = new Set<number>()
  /** Of those, the ids of threads that were seen to run. */
  readonly #begun = new Set<number>()
  /** Those that are suspended by us and stand still; the index is that of the context. */
  readonly #suspended: Member[] = []
  /** Those that are suspended by us before their first instruction: they have neither context nor stack. */
  readonly #unborn: Member[] = []
  /** Those of the suspended that were caught beforehand. */
  readonly #caught = new Set<Member>()
  #someEnded = false
  readonly #contexts: DataView[] = []
  readonly #buffers: Uint8Array[] = []
  readonly #stacks: Stacks
  readonly #board: StopBoard

  constructor(target: Target, stacks: Stacks, board: StopBoard) {
    this.#target = target
    this.#stacks = stacks
    this.#board = board
    this.#layout = target.machine === 'x64' ? CONTEXT_AMD64 : CONTEXT_ARM64
  }

  get count(): number {
    return this.#suspended.length
  }

  id(index: number): number {
    return this.#suspended[index]?.id ?? 0
  }

  instructionPointer(index: number): bigint {
    return this.#contexts[index]?.getBigUint64(this.#layout.Rip, true) ?? 0n
  }

  stackPointer(index: number): bigint {
    return this.#contexts[index]?.getBigUint64(this.#layout.Rsp, true) ?? 0n
  }

  registers(index: number, into: Float64Array): void {
    const context = this.#contexts[index]
    this.#layout.DWARF.forEach((offset, number) => {
      into[number] = context === undefined ? Number.NaN : Number(context.getBigUint64(offset, true))
    })
  }

  threadPointer(): number {
    return Number.NaN
  }

  stack(index: number): StackWindow {
    return this.#stacks.window(index)
  }

  read(address: number, into: Uint8Array): number {
    return this.#stacks.read(address, into)
  }

  /** Reads the stacks of the threads, which must stand still. */
  readStacks(): void {
    this.#stacks.reserve(this.count)
    for (let i = 0; i < this.count; i++) this.#stacks.readWindow(i, Number(this.stackPointer(i)))
  }

  /** Opens the threads there are, and makes room for their contexts. */
  prepare(): void {
    this.#board.setTarget(this.#target.pid, this.#target.created)
    this.#openNewer()
    for (const thread of this.#opened) if (threadHasBegun(thread)) this.#begun.add(thread.id)
    this.#reserve(this.#opened.length + SPARE)
    this.#stacks.reserve(this.#opened.length + SPARE)
  }

  /** Suspends every thread, those made meanwhile too, and waits until each stands still. */
  stop(timeout: number): void {
    const deadline = performance.now() + timeout
    let first = 0
    do {
      const from = this.#suspended.length
      for (const thread of this.#opened.slice(first)) this.#suspend(thread)
      first = this.#opened.length
      this.#reserve(this.#suspended.length)
      for (let i = from; i < this.#suspended.length; i++) this.#awaitStop(i)
      if (performance.now() > deadline)
        throw new HotpatchError('STOP_TIMEOUT', `the threads of process ${this.#target.pid} did not all stop within ${timeout} ms`, {
          facts: { pid: this.#target.pid, stopped: this.#suspended.length },
        })
    } while (this.#openNewer())
    if (this.#suspended.length === 0 && hasEnded(this.#target))
      throw new HotpatchError('PROCESS_GONE', `process ${this.#target.pid} (${this.#target.name}) has ended`)
  }

  /** Suspends single threads in a moment in which they are out. See CatchRequest. */
  catchFirst({ threads, within, hold, isOut }: CatchRequest): void {
    const waiting = new Set(this.#opened.filter(({ id }) => threads.includes(id)))
    let end = performance.now() + within
    while (waiting.size > 0 && performance.now() < end) {
      for (const thread of waiting) {
        if (!this.#catch(thread, isOut)) continue
        waiting.delete(thread)
        end = Math.min(end, performance.now() + hold)
      }
      if (waiting.size > 0) win32.Sleep(1)
    }
  }

  /** true: it stays suspended, or has ended. */
  #catch(thread: Member, isOut: CatchRequest['isOut']): boolean {
    const index = this.#suspended.length
    this.#suspend(thread)
    if (this.#suspended.length === index) return true
    this.#reserve(index + 1)
    this.#awaitStop(index)
    this.#stacks.reserve(index + 1)
    this.#stacks.readWindow(index, Number(this.stackPointer(index)))
    if (isOut(this, index)) {
      this.#caught.add(thread)
      return true
    }
    this.#suspended.pop()
    this.#resume(thread)
    return false
  }

  #suspend(thread: Member): void {
    if (this.#caught.has(thread)) return
    this.#board.mark(thread.slot, MARK.doubtful)
    if (win32.SuspendThread(thread.handle) !== SUSPEND_FAILED) {
      this.#board.mark(thread.slot, MARK.held)
      const begun = this.#begun.has(thread.id) || threadHasBegun(thread)
      ;(begun ? this.#suspended : this.#unborn).push(thread)
      return
    }
    const error = lastError()
    this.#board.mark(thread.slot, MARK.free)
    // A thread that is ending refuses with ERROR_ACCESS_DENIED: it runs no code of the target any more.
    this.#someEnded = true
    if (error === ERROR.ERROR_ACCESS_DENIED || threadHasEnded(thread)) return
    throw this.#unstoppable(thread, `cannot be suspended: ${errorName(error)}`)
  }

  #unstoppable(thread: ThreadHandle, why: string): HotpatchError {
    return new HotpatchError('STOP_TIMEOUT', `thread ${thread.id} of process ${this.#target.pid} ${why}`, {
      facts: { pid: this.#target.pid, thread: thread.id },
    })
  }

  #awaitStop(index: number): void {
    const thread = this.#suspended[index]
    const buffer = this.#buffers[index]
    if (thread === undefined || buffer === undefined) return
    if (win32.GetThreadContext(thread.handle, buffer)) return
    const error = lastError()
    if (!threadHasEnded(thread)) throw this.#unstoppable(thread, `gives no context: ${errorName(error)}`)
  }

  /**
   * Opens threads that are not known yet; whether there were any. Windows appends new threads, so behind a living one there can only be
   * newer ones. But a walk that stood on a thread that ended meanwhile may have missed others: then all are walked again.
   */
  #openNewer(): boolean {
    const last = this.#someEnded ? undefined : this.#opened.findLast((thread) => !threadHasEnded(thread))
    this.#someEnded = false
    const before = this.#opened.length
    const again: ThreadHandle[] = []
    for (const thread of openThreads(this.#target, 'stop', last?.handle ?? 0)) {
      if (this.#ids.has(thread.id)) again.push(thread)
      else {
        this.#ids.add(thread.id)
        this.#opened.push(this.#onBoard(thread))
      }
    }
    for (const { handle } of again) win32.CloseHandle(handle)
    return this.#opened.length > before
  }

  #onBoard({ id, handle }: ThreadHandle): Member {
    const slot = this.#opened.length
    if (slot === BOARD_THREADS) {
      win32.CloseHandle(handle)
      throw new HotpatchError('PROCESS_UNSUPPORTED', `process ${this.#target.pid} has more than ${BOARD_THREADS} threads`)
    }
    this.#board.enter(slot, id, suspendCount(handle) ?? 0)
    return { id, handle, slot }
  }

  /** Contexts must lie at multiples of 16. */
  #reserve(count: number): void {
    const { size, ContextFlags, CONTEXT_CONTROL, CONTEXT_INTEGER } = this.#layout
    const missing = count - this.#buffers.length
    if (missing <= 0) return
    const block = new Uint8Array(missing * size + 16)
    const start = Number(-addressOf(block) & 15n)
    for (let i = 0; i < missing; i++) {
      const buffer = block.subarray(start + i * size, start + (i + 1) * size)
      const view = new DataView(buffer.buffer, buffer.byteOffset, size)
      view.setUint32(ContextFlags, CONTEXT_CONTROL | CONTEXT_INTEGER, true)
      this.#buffers.push(buffer)
      this.#contexts.push(view)
    }
  }

  resume(): void {
    for (const thread of this.#suspended) this.#resume(thread)
    for (const thread of this.#unborn) this.#resume(thread)
  }

  #resume({ handle, slot }: Member): void {
    this.#board.mark(slot, MARK.doubtful)
    win32.ResumeThread(handle)
    this.#board.mark(slot, MARK.free)
  }

  close(): void {
    for (const { handle } of this.#opened) win32.CloseHandle(handle)
    this.#opened.length = 0
  }
}
