/**
 * The look at stopped threads that decides whether a switch is safe: instruction pointers against the bytes that are rewritten, and
 * every frame of every stack against the functions that change. A thread has an instruction pointer for every signal or exception whose
 * handler it is in: it will go on where it was interrupted, or where the handler sends it from there.
 *
 * Stacks are unwound with tables that were compiled before. Where that comes to an end without having come to the outermost frame (code
 * without unwind data, memory that cannot be read), every word of the rest of the stack is taken for a return address; and if the
 * thread was not on its own stack there, every word of that too. This can only find too much: words that calls have left behind, and numbers
 * that happen to look like addresses. A stack that cannot be read tells nothing: its thread is in the way.
 */

import type { StackWalker } from '../../machine/architecture.ts'
import { architectureOf } from '../../machine/architectures.ts'
import type { FrameModule, FrameVisitor } from '../../machine/x64/unwind.ts'
import type { Blocker, Process, Region, StoppedThreads } from '../../process/contract.ts'
import { type Guard, type Inspect, Ranges } from '../quiescence.ts'
import { StoppedMemory } from './stopped-memory.ts'

/** How a frame was found. */
export type Found =
  /** It is where the thread stands. */
  | 'instruction-pointer'
  | 'unwinding'
  /** A word of the stack looks like a return address into it. */
  | 'scanning'
  /** It was not, and may be there: the stack could not be read. */
  | 'unreadable'

export interface Frame {
  /** Index of the function; -1: it is not known. */
  readonly function: number
  /** The instruction pointer or return address in it; of a stack that cannot be read, from where on. */
  readonly address: bigint
  /** 0 is the innermost; of the word that was found by scanning, that of the frame where unwinding ended. */
  readonly depth: number
  readonly found: Found
  /** Where the frame of its caller begins on the stack (the CFA), which tells one call from another; 0 where it is not known. */
  readonly frame: bigint
}

/** A thread that is in the way. */
export interface BlockingThread {
  readonly threadId: number
  readonly innermost: Frame
  readonly outermost: Frame
  /** Bytes that are rewritten are under the thread's feet, not just a function that it is somewhere inside of. */
  readonly standsInBytes: boolean
  /** Made from all its registers: another one tells that the thread has moved since, the same one that it may not have. */
  readonly digest: number
}

export interface Guards {
  /** No thread may stand in these, or have been interrupted in them. */
  readonly instructions: readonly Guard[]
  /** No frame may lie in these. */
  readonly frames: readonly Guard[]
}

/** What frames are looked for with: of the process as it was shortly before the stop. */
export interface StackKnowledge {
  readonly modules: readonly FrameModule[]
  readonly regions: readonly Region[]
}

export interface Inspection {
  readonly inspect: Inspect
  /** Whether one stopped thread is in nobody's way. */
  isOut(stopped: StoppedThreads, index: number): boolean
  /** Looks and forgets what it saw: SwitchRequest.rehearse. */
  rehearse(waiting: StoppedThreads): void
  /** Of the last stop. */
  readonly blocking: readonly BlockingThread[]
  /** Of the last stop: threads whose stacks could not be unwound to their outermost frame. */
  readonly scanned: number
}

/** What is read of each stack beforehand, bytes: twenty frames of ordinary functions. */
export const STACK_BYTES = 8192

/** `knowledge` undefined: only the innermost frames are looked at. */
export function prepareInspection(
  process: Pick<Process, 'pid' | 'machine'>,
  guards: Guards,
  knowledge: StackKnowledge | undefined,
): Inspection {
  return new Inspector(process, guards, knowledge)
}

/** Instead of a region's index. */
const NONE = -1
const UNREAD = -2

/** The system's name for the stack of the main thread, whose id is that of the process (Linux). */
const MAIN_STACK = '[stack]'

class Inspector implements Inspection {
  blocking: BlockingThread[] = []
  scanned = 0
  readonly #pid: number
  readonly #instructionPointer: number
  readonly #stackPointer: number
  readonly #returnAddress: number
  readonly #instructions: Ranges
  readonly #frames: Ranges
  readonly #walker: StackWalker | undefined
  readonly #regions: Extents
  readonly #mainStack: number
  readonly #memory: StoppedMemory
  readonly #registers: Float64Array
  readonly #visit: FrameVisitor

  // Of the thread that is being looked at.
  #depth = 0
  readonly #innermost = new NotedFrame()
  readonly #outermost = new NotedFrame()
  #standsInBytes = false
  /** Where scanning last came to what cannot be read. */
  #unread = 0

  constructor({ pid, machine }: Pick<Process, 'pid' | 'machine'>, guards: Guards, knowledge: StackKnowledge | undefined) {
    const { walker, registerCount, instructionPointer, stackPointer, returnAddress, upperMask } = architectureOf(machine).unwinding
    this.#pid = pid
    this.#instructionPointer = instructionPointer
    this.#stackPointer = stackPointer
    this.#returnAddress = returnAddress
    this.#memory = new StoppedMemory(upperMask)
    this.#instructions = new Ranges(guards.instructions)
    this.#frames = new Ranges(guards.frames)
    const looksAtFrames = knowledge !== undefined && !(this.#frames.empty && this.#instructions.empty)
    this.#walker = looksAtFrames ? walker(knowledge.modules) : undefined
    this.#registers = this.#walker?.registers ?? new Float64Array(registerCount)
    this.#regions = new Extents(knowledge?.regions ?? [])
    this.#mainStack = Number(knowledge?.regions.find(({ name }) => name === MAIN_STACK)?.start ?? Number.NaN)
    this.#visit = (address, depth, exact) => this.#look(address, depth, exact)
  }

  readonly inspect = (stopped: StoppedThreads): Blocker | undefined => {
    this.blocking = []
    this.scanned = 0
    for (let i = 0; i < stopped.count; i++) this.#inspectThread(stopped, i)
    this.#memory.release()
    const [first] = this.blocking
    return first && { threadId: first.threadId, instructionPointer: first.innermost.address, guard: first.innermost.function }
  }

  rehearse(waiting: StoppedThreads): void {
    this.inspect(waiting)
    this.blocking = []
    this.scanned = 0
  }

  isOut(stopped: StoppedThreads, index: number): boolean {
    const before = this.blocking
    this.blocking = []
    this.#inspectThread(stopped, index)
    this.#memory.release()
    const out = this.blocking.length === 0
    this.blocking = before
    return out
  }

  #inspectThread(stopped: StoppedThreads, index: number): void {
    const registers = this.#registers
    stopped.registers(index, registers)
    const ip = registers[this.#instructionPointer] as number
    const standsIn = this.#instructions.functionAt(ip)
    if (standsIn >= 0) {
      const frame: Frame = { function: standsIn, address: BigInt(ip), depth: 0, found: 'instruction-pointer', frame: 0n }
      const digest = digestOf(registers)
      this.blocking.push({ threadId: stopped.id(index), innermost: frame, outermost: frame, standsInBytes: true, digest })
    } else if (this.#walker !== undefined) this.#walk(this.#walker, stopped, index)
  }

  #walk(walker: StackWalker, stopped: StoppedThreads, index: number): void {
    this.#innermost.clear()
    this.#outermost.clear()
    this.#standsInBytes = false
    this.#memory.use(stopped, stopped.stack(index))
    const seen = walker.walk(this.#memory, this.#visit) !== 'lost' || this.#scan(stopped, index, walker.stackPointer)
    if (!this.#innermost.noted) {
      if (seen) return
      this.#note(-1, this.#unread, 'unreadable')
    }
    const [innermost, outermost] = [this.#innermost.frame(), this.#outermost.frame()]
    // The walk has left those of the outermost frame.
    stopped.registers(index, this.#registers)
    const digest = digestOf(this.#registers)
    this.blocking.push({ threadId: stopped.id(index), innermost, outermost, standsInBytes: this.#standsInBytes, digest })
  }

  #look(address: number, depth: number, exact: boolean): boolean {
    this.#depth = depth
    if (this.#innermost.noted) {
      const stackPointer = this.#registers[this.#stackPointer] as number
      this.#innermost.close(stackPointer)
      this.#outermost.close(stackPointer)
    }
    // A return address belongs to the call before it.
    const at = !exact ? this.#frames.functionAt(address - 1) : depth === 0 ? this.#frames.functionAt(address) : this.#interruptedIn(address)
    if (at >= 0) this.#note(at, address, depth === 0 ? 'instruction-pointer' : 'unwinding')
    return false
  }

  /** A thread that was interrupted on the first byte of a range is in it: its handler may know what instruction that was. */
  #interruptedIn(address: number): number {
    const bytes = Math.max(this.#instructions.functionAt(address), this.#instructions.functionAt(address + 1))
    if (bytes >= 0) this.#standsInBytes = true
    return bytes >= 0 ? bytes : Math.max(this.#frames.functionAt(address), this.#frames.functionAt(address + 1))
  }

  #note(at: number, address: number, found: Found): void {
    if (!this.#innermost.noted) this.#innermost.set(at, address, this.#depth, found)
    this.#outermost.set(at, address, this.#depth, found)
  }

  /**
   * Every word from `stackPointer` to the end of its region, and of the thread's own stack if that is another. false: not all of it could be
   * read, and there may be frames in the rest.
   */
  #scan(stopped: StoppedThreads, index: number, stackPointer: number): boolean {
    this.scanned++
    // A function that calls nothing has its return address in a register only, on some processors.
    this.#scanWord(this.#registers[this.#returnAddress] as number)
    stopped.registers(index, this.#registers)
    const begin = this.#registers[this.#stackPointer] as number
    let region = this.#scanUpwards(stackPointer, begin)
    // Unwinding may have led astray: there is a stack where it began.
    if (region === UNREAD && begin !== stackPointer) region = this.#scanUpwards(begin, begin)
    const isMain = stopped.id(index) === this.#pid && this.#mainStack > 0
    const pointer = isMain ? this.#mainStack : stopped.threadPointer(index)
    const own = this.#regions.at(pointer)
    if (own === NONE || own === region) return region !== UNREAD
    const end = isMain ? this.#regions.end(own) : pointer
    return this.#scanWords(this.#regions.start(own), end) >= end && region !== UNREAD
  }

  /**
   * The index of the region; NONE: it was mapped since regions were asked for, or nothing is left on the stack on which the thread is; UNREAD.
   * @param begin where the thread stands
   */
  #scanUpwards(stackPointer: number, begin: number): number {
    const from = Math.ceil(stackPointer / 8) * 8
    const region = this.#regions.at(from)
    const end = region === NONE ? Number.POSITIVE_INFINITY : this.#regions.end(region)
    const last = this.#scanWords(from, end)
    if (last === end || (region === NONE && last > from)) return region
    const isEnd = begin === from || this.#regions.at(begin) === this.#regions.at(from - 1)
    return last === from && isEnd && this.#regions.endsAt(from) ? NONE : UNREAD
  }

  /** Where it ended: at `end`, or at what cannot be read. */
  #scanWords(start: number, end: number): number {
    let address = start
    for (; address < end; address += 8) {
      const word = this.#memory.word(address)
      if (Number.isNaN(word)) {
        this.#unread = address
        break
      }
      this.#scanWord(word)
    }
    return address
  }

  #scanWord(word: number): void {
    const at = Math.max(this.#frames.functionAt(word), this.#frames.functionAt(word - 1), this.#instructions.functionAt(word))
    if (at >= 0) this.#note(at, word, 'scanning')
  }
}

const WORD = 2 ** 32

function digestOf(registers: Float64Array): number {
  let digest = 0
  for (let i = 0; i < registers.length; i++) {
    const value = registers[i] as number
    digest = Math.imul(digest ^ (value % WORD), 0x01000193) ^ (value / WORD)
  }
  return digest
}

/** A frame that was met, kept without allocating. */
class NotedFrame {
  #function = -1
  #address = 0
  #depth = 0
  #found: Found = 'unwinding'
  #frame = 0
  /** Where it ends on the stack is told by the next frame. */
  #open = false

  get noted(): boolean {
    return this.#function >= 0
  }

  clear(): void {
    this.#function = -1
    this.#open = false
  }

  set(at: number, address: number, depth: number, found: Found): void {
    this.#function = at
    this.#address = address
    this.#depth = depth
    this.#found = found
    this.#frame = 0
    this.#open = found !== 'scanning'
  }

  close(stackPointer: number): void {
    if (!this.#open) return
    this.#frame = stackPointer
    this.#open = false
  }

  frame(): Frame {
    return {
      function: this.#function,
      address: BigInt(this.#address),
      depth: this.#depth,
      found: this.#found,
      frame: BigInt(this.#frame),
    }
  }
}

/** Readable regions, searched by address. */
class Extents {
  readonly #starts: Float64Array
  readonly #ends: Float64Array

  constructor(regions: readonly Region[]) {
    const readable = regions.filter(({ read }) => read)
    this.#starts = Float64Array.from(readable, ({ start }) => Number(start))
    this.#ends = Float64Array.from(readable, ({ end }) => Number(end))
  }

  /** The index of the region that holds `address`; NONE. */
  at(address: number): number {
    let low = 0
    let high = this.#starts.length - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      if (!(address >= (this.#starts[middle] as number))) high = middle - 1
      else if (address >= (this.#ends[middle] as number)) low = middle + 1
      else return middle
    }
    return NONE
  }

  /** Whether one ends there, and none begins. */
  endsAt(address: number): boolean {
    const before = this.at(address - 1)
    return before !== NONE && this.end(before) === address && this.at(address) === NONE
  }

  start(index: number): number {
    return this.#starts[index] as number
  }

  end(index: number): number {
    return this.#ends[index] as number
  }
}
