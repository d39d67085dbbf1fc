import { HotpatchError } from '../../errors.ts'
import type {
  CallArgument,
  CallInside,
  MappedModule,
  MapRequest,
  Process,
  Region,
  SearchRequest,
  SearchResult,
  SwitchOutcome,
  SwitchRequest,
  ThreadSummary,
  UnwindRegistration,
  UnwindRequest,
} from '../contract.ts'
import { NOBODY } from '../nobody.ts'
import { once } from '../once.ts'
import { findFreePlace, type PlaceRequest } from '../place.ts'
import { searchParts } from '../search.ts'
import { EngineKilled, type FakeStep, type FakeTarget } from './target.ts'
import { catchThreads, viewOfThreads } from './threads.ts'

const SPACE = { granularity: 0x1000n, lowest: 0x10000n, highest: 0x7fff_ffff_f000n }

/** One opened handle of a FakeTarget. Once a fault has killed the engine, every call of it throws EngineKilled. */
export class FakeProcess implements Process {
  readonly incarnation = 'fake'
  readonly #target: FakeTarget
  #killed: EngineKilled | undefined
  #stopped = false

  constructor(target: FakeTarget) {
    this.#target = target
  }

  get pid(): number {
    return this.#target.pid
  }

  get name(): string {
    return this.#target.name
  }

  get machine(): 'x64' | 'arm64' {
    return this.#target.machine
  }

  modules(): MappedModule[] {
    this.#check()
    return this.#target.modules()
  }

  regions(): Region[] {
    this.#check()
    this.#target.looks++
    return this.#target.regions()
  }

  threads(): ThreadSummary[] {
    this.#check()
    return this.#target.threadSummaries()
  }

  read(address: bigint, length: number): Uint8Array {
    this.#check()
    const bytes = this.#target.peek(address, length)
    if (bytes === undefined) throw new HotpatchError('MEMORY_UNREADABLE', `${length} bytes at 0x${address.toString(16)} are not mapped`)
    return bytes
  }

  write(address: bigint, bytes: Uint8Array): void {
    this.#step({ kind: 'write', address, bytes: bytes.slice(), stopped: this.#stopped })
    if (!this.#target.poke(address, bytes))
      throw new HotpatchError('MEMORY_UNWRITABLE', `${bytes.length} bytes at 0x${address.toString(16)} are not mapped`)
  }

  findPlace(request: PlaceRequest): bigint | undefined {
    this.#check()
    return findFreePlace(this.#target.regions(), request, SPACE)
  }

  /** One step for each segment, as the systems do it: an engine that is killed in between leaves a part behind. */
  map(request: MapRequest): void {
    this.#check()
    if (this.#target.mappingRefusal !== undefined) throw this.#target.mappingRefusal
    const done: { address: bigint; size: number }[] = []
    try {
      for (const { offset, size, protection, content } of request.segments) {
        const address = request.address + BigInt(offset)
        this.#step({ kind: 'map', address, size, protection, name: request.name })
        this.#target.addMapping(address, size, protection, content, request.name)
        done.push({ address, size })
      }
    } catch (error) {
      if (!(error instanceof EngineKilled)) for (const { address, size } of done) this.#target.removeMappings(address, size)
      throw error
    }
  }

  unmap(address: bigint, size: number): void {
    this.#step({ kind: 'unmap', address, size })
    this.#target.removeMappings(address, size)
  }

  switchCode(request: SwitchRequest): SwitchOutcome {
    const target = this.#target
    const count = target.threads.length
    this.#step({ kind: 'stop', threads: count })
    this.#stopped = true
    const done: { address: bigint; before: Uint8Array }[] = []
    try {
      if (request.catchFirst !== undefined) catchThreads(target, request)
      request.rehearse?.(NOBODY)
      const blocker = request.inspect(viewOfThreads(target, request.stacks))
      if (blocker !== undefined) return { switched: false, blocker, stoppedMicroseconds: 1, threads: count }
      for (const { from, to, length } of request.copies ?? []) this.write(to, this.read(from, length))
      for (const { address, bytes } of request.writes) {
        const before = target.peek(address, bytes.length)
        this.write(address, bytes)
        if (before !== undefined) done.push({ address, before })
      }
      return { switched: true, stoppedMicroseconds: 1, threads: count }
    } catch (error) {
      if (!(error instanceof EngineKilled) && target.alive) for (const { address, before } of done.reverse()) target.poke(address, before)
      throw error
    } finally {
      // The system lets the threads go when their tracer dies, so this is no step that a fault could prevent.
      this.#stopped = false
      target.log.push({ kind: 'resume', threads: count })
      target.onResume?.()
    }
  }

  /** No step: it changes nothing in the target. */
  lock(): () => void {
    this.#check()
    if (this.#target.engine !== undefined) throw new HotpatchError('ENGINE_AT_WORK', `another engine is at work on process ${this.pid}`)
    this.#target.engine = this
    return once(() => this.#unlock())
  }

  call(address: bigint, args: readonly CallArgument[]): bigint {
    this.#step({ kind: 'call', address, args })
    if (this.#target.onCall === undefined) throw new HotpatchError('DEFECT', `nothing acts out a call of 0x${address.toString(16)}`)
    return this.#target.onCall(address, args, this.#target)
  }

  calls<T>(action: (call: CallInside) => T): T {
    return action((address, args) => this.call(address, args))
  }

  search(request: SearchRequest): SearchResult {
    this.#check()
    const parts = this.#target.regions().filter(({ write }) => write)
    return searchParts(request, parts, (address, into) => {
      const bytes = this.#target.peek(address, into.length) ?? new Uint8Array()
      into.set(bytes)
      return bytes.length
    })
  }

  registerUnwind(request: UnwindRequest): UnwindRegistration | undefined {
    this.#step({ kind: 'registerUnwind', address: request.address })
    return { kind: request.kind, address: request.address }
  }

  unregisterUnwind(registration: UnwindRegistration): void {
    this.#step({ kind: 'unregisterUnwind', address: registration.address })
  }

  close(): void {}

  /** What the system does when an engine dies: its lock is free. */
  kill(cause: EngineKilled): void {
    this.#killed = cause
    this.#unlock()
  }

  #unlock(): void {
    if (this.#target.engine === this) this.#target.engine = undefined
  }

  #check(): void {
    if (this.#killed !== undefined) throw this.#killed
    if (!this.#target.alive) throw new HotpatchError('PROCESS_GONE', `process ${this.pid} has ended`)
  }

  #step(step: FakeStep): void {
    this.#check()
    try {
      this.#target.fault?.(step, this.#target.log.length, this.#target)
    } catch (error) {
      if (error instanceof EngineKilled) this.kill(error)
      throw error
    }
    this.#check()
    this.#target.log.push(step)
  }
}
