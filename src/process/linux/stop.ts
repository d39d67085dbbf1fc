/** Stopping a whole process for a moment: the switch of code. */
import { HotpatchError } from '../../errors.ts'
import { silenceChildStops } from '../../os/linux/child-stops.ts'
import { PTRACE } from '../../os/linux/definitions.ts'
import { letIdle, stayAwake } from '../../os/linux/idle.ts'
import { startKicks, stopKicks } from '../../os/linux/kicks.ts'
import { libc, pinned, sleepMicroseconds } from '../../os/linux/libc.ts'
import { runAhead, runAsBefore } from '../../os/linux/priority.ts'
import type { Blocker, CatchRequest, StackWindow, StoppedThreads, SwitchOutcome, SwitchRequest } from '../contract.ts'
import { rehearse } from '../rehearse.ts'
import { machine } from './host-machine.ts'
import type { Memory, PreparedStore } from './memory.ts'
import { livingThread, parseSyscall, readProcOrNothing } from './proc.ts'
import { dwarfRegisters, Stacks } from './stacks.ts'
import { TaskFolder } from './tasks.ts'
import {
  detach,
  isEnding,
  isEventStop,
  isInterruption,
  isOnProcessor,
  lastStatus,
  leaveBehind,
  pendingSignal,
  poll,
  releaseStragglers,
  seize,
  WaitState,
  waitUntilKicked,
} from './tracing.ts'

/**
 * How often a stop of few threads asks whether one has stopped before it waits for that: some 20 µs. A thread that another processor runs has stopped
 * by then, and going to sleep and being woken would take longer; one that needs ours gets it when we wait.
 */
const POLLS = 30
const { words: WORDS, instructionPointer: INSTRUCTION_POINTER, stackPointer: STACK_POINTER } = machine.registers
const SIZE = 8 * WORDS
/** Milliseconds that letting go waits for threads that were attached and not stopped yet. */
const LET_GO_WITHIN = 100
/** Milliseconds after which a thread that is to be caught and makes no system calls is stopped for a look. */
const LOOK_EVERY = 10
/** Microseconds. */
const BETWEEN_LOOKS = 50

/** The threads that are attached, in arrays that are made before anything stands still. */
class Threads implements StoppedThreads {
  readonly #pid: number
  readonly #tasks: TaskFolder
  #tids = new Int32Array(0)
  #statuses = new Int32Array(0)
  #states = new Uint8Array(0)
  #registers = pinned(0)
  #words: BigUint64Array = new BigUint64Array(0)
  #halves: Int32Array = new Int32Array(0)
  #unsigned: Uint32Array = new Uint32Array(0)
  readonly #stacks: Stacks
  #count = 0
  /** Threads that are listed but have ended: a main thread that left the others behind. */
  #ended = 0
  #polls = 0

  constructor(pid: number, tasks: TaskFolder, stacks: Stacks) {
    this.#pid = pid
    this.#tasks = tasks
    this.#stacks = stacks
  }

  get count(): number {
    return this.#count
  }

  id(index: number): number {
    return this.#tids[index] as number
  }

  instructionPointer(index: number): bigint {
    return this.#words[index * WORDS + INSTRUCTION_POINTER] as bigint
  }

  stackPointer(index: number): bigint {
    return this.#words[index * WORDS + STACK_POINTER] as bigint
  }

  registers(index: number, into: Float64Array): void {
    dwarfRegisters(this.#unsigned, index * WORDS * 2, into)
  }

  threadPointer(index: number): number {
    return machine.registers.threadPointer(this.id(index), this.#words, index * WORDS)
  }

  stack(index: number): StackWindow {
    return this.#stacks.window(index)
  }

  read(address: number, into: Uint8Array): number {
    return this.#stacks.read(address, into)
  }

  /** Attaches to every thread without stopping one, again and again until no unknown one is left. Answers how many were new. */
  attachAll(): number {
    const before = this.#count
    for (let found = true; found; ) {
      found = false
      this.#ended = 0
      const known = new Set(this.#tids.subarray(0, this.#count))
      for (const tid of this.#tasks.list()) {
        if (known.has(tid)) continue
        if (seize(this.#pid, tid)) {
          this.#add(tid)
          found = true
        } else this.#ended++
      }
    }
    return this.#count - before
  }

  /** Stops all and reads their registers. Throws STOP_TIMEOUT, PROCESS_GONE. */
  stopAll(deadline: number): void {
    this.#polls = this.#count <= FEW ? POLLS : 0
    let first = 0
    do {
      for (let i = first; i < this.#count; i++) if (this.#states[i] === WaitState.running) this.#interrupt(i)
      // The last one asked is the last one to stop: once it has, the others are found stopped at the first look.
      for (let i = this.#count - 1; i >= first; i--) if (this.#states[i] === WaitState.running) this.#await(i, deadline)
      first = this.#count
      // A thread that was not stopped yet may have made others, which only a look at the list can find.
    } while (this.#tasks.count() !== this.#alive() + this.#ended && this.attachAll() > 0)
    this.#forgetEnded()
    for (let i = 0; i < this.#count; i++) this.#readRegisters(i)
    this.#forgetEnded()
    if (this.#count === 0) throw new HotpatchError('PROCESS_GONE', `process ${this.#pid} has ended`)
    this.#stacks.readThrough(this.id(0))
    this.#stacks.readAll(this.#unsigned, WORDS * 2, this.#count)
  }

  /** Stops single threads where they are out: at a system call, or whenever they run without making any. See CatchRequest. */
  catchFirst({ threads, within, hold, isOut }: CatchRequest): void {
    const waiting = new Set<number>()
    for (let i = 0; i < this.#count; i++) if (threads.includes(this.id(i))) waiting.add(i)
    for (const i of waiting) {
      machine.registers.noteWaiting(this.id(i))
      this.#interrupt(i)
    }
    let end = performance.now() + within
    let look = performance.now() + LOOK_EVERY
    while (waiting.size > 0 && performance.now() < end) {
      let moved = false
      for (const i of waiting) {
        const state = poll(this.id(i))
        if (state === WaitState.running) continue
        moved = true
        this.#states[i] = state
        this.#statuses[i] = lastStatus()
        if (state === WaitState.stopped && this.#goesOn(i, isOut)) continue
        waiting.delete(i)
        end = Math.min(end, performance.now() + hold)
      }
      if (!moved) sleepMicroseconds(BETWEEN_LOOKS)
      if (performance.now() < look) continue
      // A call that waits is not broken off: its time would begin anew.
      for (const i of waiting) if (isOnProcessor(this.#pid, this.id(i))) this.#interrupt(i)
      look = performance.now() + LOOK_EVERY
    }
  }

  /** A stopped thread that is not out runs on up to its next system call. false: it stays stopped. */
  #goesOn(index: number, isOut: CatchRequest['isOut']): boolean {
    const [tid, status] = [this.#tids[index] as number, this.#statuses[index] as number]
    this.#readRegisters(index)
    if (this.#states[index] !== WaitState.stopped) return false
    this.#stacks.readThrough(tid)
    this.#stacks.readOne(this.#unsigned, WORDS * 2, index)
    // One that job control has stopped would have to be woken.
    if (isOut(this, index) || (isEventStop(status) && !isInterruption(status))) return false
    machine.registers.keepWaiting(tid, status, this.#halves, index * WORDS * 2)
    libc.ptrace(PTRACE.SYSCALL, tid, 0, pendingSignal(status))
    this.#states[index] = WaitState.running
    return true
  }

  /** What those that run or wait are about to be stopped in. */
  noteWaiting(): void {
    for (let i = 0; i < this.#count; i++) if (this.#states[i] === WaitState.running) machine.registers.noteWaiting(this.id(i))
  }

  letGo(): void {
    let running = 0
    for (let i = 0; i < this.#count; i++) {
      if (this.#states[i] === WaitState.stopped) this.#release(i)
      else if (this.#states[i] === WaitState.running) running++
    }
    if (running > 0) this.#letGoRunning()
    this.#count = 0
  }

  /**
   * The same calls as in earnest, on a thread that does not exist: so that they are compiled and in the processor's caches
   * before anything stands still.
   */
  rehearse(rounds: number): void {
    const index = this.#count
    this.#add(NO_THREAD)
    rehearse(rounds, () => {
      this.#states[index] = WaitState.running
      this.#interrupt(index)
      this.#await(index, 0)
      this.#tasks.count()
      this.#readRegisters(index)
      this.#stacks.rehearse()
      this.instructionPointer(index)
      this.stackPointer(index)
      this.#release(index)
    })
    this.#count = index
  }

  /**
   * Shows `look` what can be known of some threads without stopping them: rows of frame tables and stacks that it will meet are in the
   * processor's caches afterwards.
   */
  preview(look: (threads: StoppedThreads) => void): void {
    const all = this.#count
    let found = 0
    for (let i = 0; i < all && found < PREVIEWED; i++) {
      const waiting = parseSyscall(readProcOrNothing(`/proc/${this.#pid}/task/${this.id(i)}/syscall`))
      if (waiting === undefined) continue
      this.#words.fill(0n, found * WORDS, (found + 1) * WORDS)
      this.#words[found * WORDS + STACK_POINTER] = waiting.stackPointer
      this.#words[found * WORDS + INSTRUCTION_POINTER] = waiting.instructionPointer
      found++
    }
    this.#count = found
    this.#stacks.readAll(this.#unsigned, WORDS * 2, found)
    look(this)
    this.#count = all
  }

  #add(tid: number): void {
    if (this.#count === this.#tids.length) this.#grow()
    this.#tids[this.#count] = tid
    this.#states[this.#count] = WaitState.running
    this.#statuses[this.#count] = 0
    this.#count++
  }

  #grow(): void {
    const capacity = Math.max(64, this.#tids.length * 2)
    const [tids, statuses, states] = [this.#tids, this.#statuses, this.#states]
    this.#tids = new Int32Array(capacity)
    this.#statuses = new Int32Array(capacity)
    this.#states = new Uint8Array(capacity)
    this.#tids.set(tids)
    this.#statuses.set(statuses)
    this.#states.set(states)
    this.#registers = pinned(capacity * SIZE)
    this.#words = new BigUint64Array(this.#registers.bytes.buffer)
    this.#halves = new Int32Array(this.#registers.bytes.buffer)
    this.#unsigned = new Uint32Array(this.#registers.bytes.buffer)
  }

  #interrupt(index: number): void {
    libc.ptrace(PTRACE.INTERRUPT, this.#tids[index] as number, 0, 0)
  }

  #await(index: number, deadline: number): void {
    const tid = this.#tids[index] as number
    for (;;) {
      const mayPoll = this.#polls > 0
      if (mayPoll) this.#polls--
      const state = mayPoll ? poll(tid) : waitUntilKicked(tid)
      if (state !== WaitState.running) {
        this.#states[index] = state
        this.#statuses[index] = lastStatus()
        return
      }
      if (mayPoll) continue
      this.#lookCloser(index, tid, deadline)
      if (this.#states[index] === WaitState.gone) return
    }
  }

  #lookCloser(index: number, tid: number, deadline: number): void {
    if (performance.now() > deadline)
      throw new HotpatchError('STOP_TIMEOUT', `thread ${tid} of process ${this.#pid} did not stop in time`, { facts: { thread: tid } })
    if (isEnding(this.#pid, tid)) {
      // A main thread that ends before the others stays listed, and waitpid tells of it only after the last of them.
      this.#states[index] = WaitState.gone
      if (tid === this.#pid) this.#ended++
    }
  }

  #readRegisters(index: number): void {
    const address = this.#registers.address + index * SIZE
    if (!machine.registers.fetch(this.#tids[index] as number, address)) this.#states[index] = WaitState.gone
  }

  #release(index: number): void {
    const [tid, status] = [this.#tids[index] as number, this.#statuses[index] as number]
    machine.registers.keepWaiting(tid, status, this.#halves, index * WORDS * 2)
    detach(tid, status)
  }

  #letGoRunning(): void {
    const deadline = performance.now() + LET_GO_WITHIN
    for (let i = 0; i < this.#count; i++) if (this.#states[i] === WaitState.running) this.#interrupt(i)
    for (let i = 0; i < this.#count; i++) {
      if (this.#states[i] !== WaitState.running) continue
      try {
        this.#await(i, deadline)
      } catch {
        leaveBehind(this.#tids[i] as number)
      }
      if (this.#states[i] === WaitState.stopped) this.#release(i)
    }
  }

  #alive(): number {
    let alive = 0
    for (let i = 0; i < this.#count; i++) if (this.#states[i] === WaitState.stopped) alive++
    return alive
  }

  #forgetEnded(): void {
    let kept = 0
    for (let i = 0; i < this.#count; i++) {
      if (this.#states[i] === WaitState.gone) continue
      if (kept !== i) {
        this.#tids[kept] = this.#tids[i] as number
        this.#statuses[kept] = this.#statuses[i] as number
        this.#states[kept] = this.#states[i] as number
        this.#words.copyWithin(kept * WORDS, i * WORDS, (i + 1) * WORDS)
      }
      kept++
    }
    this.#count = kept
  }
}

/**
 * With so few threads most of a stop is waiting for processors to wake. With more the next one is awake anyway, and idle ones that do not
 * sleep slow their neighbours down.
 */
const FEW = 4
/** How many threads are looked at beforehand. */
const PREVIEWED = 4

/** Higher than any thread's number (the kernel's limit is 2^22). */
const NO_THREAD = 0x3ffffff0
/** Enough for the first time, when nothing is compiled yet; then enough to have it at hand. */
const [FIRST_REHEARSAL, REHEARSAL] = [200, 10]
let rehearsed = false

/** `Process.switchCode` for the process whose memory is `memory`. */
export function switchCode(pid: number, memory: Memory, request: SwitchRequest): SwitchOutcome {
  releaseStragglers()
  const stores = request.writes.map(({ address, bytes }) => memory.prepare(address, bytes))
  const copies = request.copies ?? []
  const stacks = new Stacks(livingThread(pid), request.stacks)
  const tasks = new TaskFolder(pid)
  const threads = new Threads(pid, tasks, stacks)
  let start: bigint
  let end: bigint
  let blocker: Blocker | undefined
  let count: number
  try {
    startKicks()
    silenceChildStops()
    threads.attachAll()
    stacks.reserve(threads.count)
    if (request.catchFirst !== undefined) threads.catchFirst(request.catchFirst)
    if (threads.count <= FEW) stayAwake()
    runAhead()
    if (request.rehearse !== undefined) threads.preview((waiting) => request.rehearse?.(waiting))
    // Last, since what comes first in the stop is this.
    threads.rehearse(rehearsed ? REHEARSAL : FIRST_REHEARSAL)
    rehearsed = true
    threads.noteWaiting()
    for (const store of stores) store.remember()
    const deadline = performance.now() + request.stopTimeout
    start = process.hrtime.bigint()
    threads.stopAll(deadline)
    count = threads.count
    blocker = request.inspect(threads)
    if (blocker === undefined) {
      for (const { from, to, length } of copies) memory.copy(from, to, length)
      applyAll(stores)
    }
  } finally {
    threads.letGo()
    end = process.hrtime.bigint()
    runAsBefore()
    letIdle()
    stopKicks()
    tasks.close()
  }
  const stoppedMicroseconds = Number(end - start) / 1000
  if (blocker !== undefined) return { switched: false, blocker, stoppedMicroseconds, threads: count }
  return { switched: true, stoppedMicroseconds, threads: count }
}

/** In order; what was done is taken back when a later one fails. */
function applyAll(stores: readonly PreparedStore[]): void {
  const last = stores.length - 1
  for (let i = 0; i <= last; i++) {
    const store = stores[i] as PreparedStore
    if ((i === last || store.remember()) && store.apply()) continue
    for (let done = i - 1; done >= 0; done--) stores[done]?.undo()
    throw store.failure()
  }
}
