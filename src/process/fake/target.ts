/** A process that exists only in memory: what a FakeProcess opens. It outlives the engine that is killed while at work on it. */
import { HotpatchError } from '../../errors.ts'
import type { Protection } from '../../patch/image.ts'
import type { CallArgument, MappedModule, Region, ThreadSummary } from '../contract.ts'

/** Everything that changes the target, in the order it happened. */
export type FakeStep =
  /** `stopped`: while all threads stood still. */
  | { readonly kind: 'write'; readonly address: bigint; readonly bytes: Uint8Array; readonly stopped: boolean }
  | { readonly kind: 'map'; readonly address: bigint; readonly size: number; readonly protection: Protection; readonly name: string }
  | { readonly kind: 'unmap'; readonly address: bigint; readonly size: number }
  | { readonly kind: 'registerUnwind'; readonly address: bigint }
  | { readonly kind: 'unregisterUnwind'; readonly address: bigint }
  | { readonly kind: 'call'; readonly address: bigint; readonly args: readonly CallArgument[] }
  | { readonly kind: 'stop'; readonly threads: number }
  | { readonly kind: 'resume'; readonly threads: number }

/** Called before each step takes effect; what it throws is what the caller of the process sees. */
export type FakeFault = (step: FakeStep, index: number, target: FakeTarget) => void

export interface FakeModule {
  readonly path: string
  readonly base: bigint
  readonly format: 'elf' | 'pe'
  readonly deleted?: boolean
  /** Page-aligned, from `base`. The rest of a segment behind its content is zero. */
  readonly segments: readonly {
    readonly offset: number
    readonly size: number
    readonly protection: Protection
    readonly content: Uint8Array
  }[]
}

export interface FakeThread {
  readonly id: number
  readonly name: string
  instructionPointer: bigint
  stackPointer: bigint
  /** Of the others, by DWARF number; 0 where nothing is said. */
  readonly registers?: ReadonlyMap<number, bigint>
  /** As a thread of Windows has one. */
  readonly teb?: bigint
}

export interface FakeOptions {
  readonly pid: number
  readonly name: string
  readonly machine?: 'x64' | 'arm64'
  /** Main program first. */
  readonly modules: readonly FakeModule[]
  /** Default: one thread, outside every module. Each gets a page for its stack where there is nothing. */
  readonly threads?: readonly FakeThread[]
}

interface Mapping {
  readonly start: bigint
  readonly protection: Protection
  readonly name: string
  readonly bytes: Uint8Array
}

/** Thrown in place of dying: from then on the handle that met it answers nothing else. */
export class EngineKilled extends Error {
  constructor(step: number) {
    super(`the engine was killed before step ${step}`)
    this.name = 'EngineKilled'
  }
}

/** The engine dies before its step `index` (counted from 0) takes effect. */
export const killEngineAt =
  (index: number): FakeFault =>
  (_, at) => {
    if (at === index) throw new EngineKilled(index)
  }

/** Step `index` fails with `error`; the engine may clean up. */
export const failAt =
  (index: number, error: HotpatchError): FakeFault =>
  (_, at) => {
    if (at === index) throw error
  }

/** The target itself exits before step `index`. */
export const exitAt =
  (index: number): FakeFault =>
  (_, at, target) => {
    if (at === index) target.exit()
  }

const PAGE = 0x1000

export class FakeTarget {
  readonly pid: number
  readonly name: string
  readonly machine: 'x64' | 'arm64'
  readonly log: FakeStep[] = []
  /** How often an engine had the memory map told. */
  looks = 0
  threads: FakeThread[]
  /** Set to make steps fail. */
  fault: FakeFault | undefined
  /** The handle that has the lock. */
  engine: object | undefined
  /** Called after every resume, where a test lets threads move on. */
  onResume: (() => void) | undefined
  /** What a call of a function answers; it may throw what the contract says. */
  onCall: ((address: bigint, args: readonly CallArgument[], target: FakeTarget) => bigint) | undefined
  /** What mapping is answered with where the "system" forbids it. */
  mappingRefusal: HotpatchError | undefined
  readonly #modules: FakeModule[] = []
  #mappings: Mapping[] = []
  #alive = true

  constructor(options: FakeOptions) {
    this.pid = options.pid
    this.name = options.name
    this.machine = options.machine ?? 'x64'
    this.threads = (options.threads ?? [{ id: options.pid, name: options.name, instructionPointer: 0x1000n, stackPointer: 0x2000n }]).map(
      (thread) => ({ ...thread }),
    )
    for (const module of options.modules) this.addModule(module)
    for (const { stackPointer } of this.threads) this.#addStack(stackPointer)
  }

  #addStack(stackPointer: bigint): void {
    const start = stackPointer - (stackPointer % BigInt(PAGE))
    if (!this.isTaken(start, PAGE)) this.addMapping(start, PAGE, 'rw', new Uint8Array(), '')
  }

  get alive(): boolean {
    return this.#alive
  }

  exit(): void {
    this.#alive = false
  }

  modules(): MappedModule[] {
    return this.#modules.map((module) => ({
      name: module.path.slice(Math.max(module.path.lastIndexOf('/'), module.path.lastIndexOf('\\')) + 1),
      path: module.path,
      base: module.base,
      size: Math.max(...module.segments.map((segment) => segment.offset + segment.size)),
      deleted: module.deleted ?? false,
      format: module.format,
    }))
  }

  regions(): Region[] {
    return this.#mappings.map((mapping) => ({
      start: mapping.start,
      end: mapping.start + BigInt(mapping.bytes.length),
      read: true,
      write: mapping.protection === 'rw',
      execute: mapping.protection === 'rx',
      name: mapping.name,
    }))
  }

  threadSummaries(): ThreadSummary[] {
    return this.threads.map(({ id, name, teb }) => ({ id, name, teb }))
  }

  /** As the target's loader does it, without a step in the log. Throws PLACE_TAKEN. */
  addModule(module: FakeModule): void {
    this.#modules.push(module)
    for (const { offset, size, protection, content } of module.segments)
      this.addMapping(module.base + BigInt(offset), size, protection, content, module.path)
  }

  /** The same the other way: the module and its memory are gone. */
  removeModule(base: bigint): void {
    const at = this.#modules.findIndex((module) => module.base === base)
    for (const { offset, size } of at < 0 ? [] : (this.#modules.splice(at, 1)[0]?.segments ?? []))
      this.removeMappings(base + BigInt(offset), size)
  }

  /** Adds memory without a step in the log. Throws PLACE_TAKEN. */
  addMapping(start: bigint, size: number, protection: Protection, content: Uint8Array, name: string): void {
    if (size <= 0 || size % PAGE !== 0 || start % BigInt(PAGE) !== 0n || content.length > size)
      throw new HotpatchError('DEFECT', `a mapping of ${size} bytes at 0x${start.toString(16)} with ${content.length} bytes of content`)
    if (this.isTaken(start, size)) throw new HotpatchError('PLACE_TAKEN', `0x${start.toString(16)} and ${size} bytes are not free`)
    const bytes = new Uint8Array(size)
    bytes.set(content)
    this.#mappings.push({ start, protection, name, bytes })
    this.#mappings.sort((a, b) => (a.start < b.start ? -1 : 1))
  }

  isTaken(start: bigint, size: number): boolean {
    const end = start + BigInt(size)
    return this.#mappings.some((mapping) => mapping.start < end && mapping.start + BigInt(mapping.bytes.length) > start)
  }

  removeMappings(start: bigint, size: number): void {
    const end = start + BigInt(size)
    this.#mappings = this.#mappings.filter((mapping) => mapping.start < start || mapping.start + BigInt(mapping.bytes.length) > end)
  }

  /** A copy, or undefined where not every byte is mapped. */
  peek(address: bigint, length: number): Uint8Array | undefined {
    const result = new Uint8Array(length)
    return this.#eachPart(address, length, (part, at) => result.set(part, at)) ? result : undefined
  }

  /** Stores without a step in the log; false where not every byte is mapped. */
  poke(address: bigint, bytes: Uint8Array): boolean {
    if (this.peek(address, bytes.length) === undefined) return false
    return this.#eachPart(address, bytes.length, (part, at) => part.set(bytes.subarray(at, at + part.length)))
  }

  #eachPart(address: bigint, length: number, visit: (part: Uint8Array, at: number) => void): boolean {
    let at = 0
    for (const mapping of this.#mappings) {
      if (at === length) break
      const offset = address + BigInt(at) - mapping.start
      if (offset < 0n || offset >= BigInt(mapping.bytes.length)) continue
      const part = mapping.bytes.subarray(Number(offset), Math.min(mapping.bytes.length, Number(offset) + length - at))
      visit(part, at)
      at += part.length
    }
    return at === length
  }
}
