/** What the conformance suite needs to know about, and to do to, the program that it looks at (test/targets/conformance.c). */
import type { Backend, Process } from '../contract.ts'

/**
 * Addresses in the running target. It prints them as hexadecimal text in one JSON line: `{"pid":1,"symbols":{"control":"0x…"}}`.
 * - control: CONTROL_FIELDS, one u64 each, in writable data
 * - value: a function of 8 bytes at an address that is a multiple of 16, VALUE_OLD; workers call it again and again
 * - spin, spinEnd: the bounds of a function in which one thread loops while control.spin is not 0
 * - text: "hotpatch conformance", in read-only data
 * - data: the u64 0x1122334455667788 in writable data, touched by nobody
 */
export const TARGET_SYMBOLS = ['control', 'value', 'spin', 'spinEnd', 'text', 'data'] as const
export type TargetSymbols = Readonly<Record<(typeof TARGET_SYMBOLS)[number], bigint>>

export const CONTROL_FIELDS = [
  /** How many workers there shall be, and how many there are. */
  'wanted',
  'running',
  /** Not 0: the spinner shall loop; and whether it does. */
  'spin',
  'spinning',
  /** Not 0: the program returns from main. */
  'quit',
  /** Calls of `value` that returned 1, returned 2, returned anything else. */
  'old',
  'new',
  'bad',
] as const
export type ControlField = (typeof CONTROL_FIELDS)[number]

/** Targets are for the processor that the suite runs on. */
export const MACHINE = process.arch === 'arm64' ? 'arm64' : 'x64'
/** Milliseconds for what the target is asked to do. ARM64 may be emulated. */
const PATIENCE = MACHINE === 'arm64' ? 120_000 : 20_000
/** x64: `mov eax, NUMBER; ret; nop; nop`; arm64: `mov w0, #NUMBER; ret`. */
const value = (number: number): Uint8Array =>
  MACHINE === 'arm64'
    ? Uint8Array.of(number << 5, 0, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6)
    : Uint8Array.of(0xb8, number, 0, 0, 0, 0xc3, 0x90, 0x90)
export const VALUE_OLD = value(1)
export const VALUE_NEW = value(2)
export const TARGET_TEXT = 'hotpatch conformance'
export const TARGET_DATA = 0x1122334455667788n

/** A target that was started for one case. */
export interface StartedTarget {
  readonly pid: number
  /** The main program's file name. */
  readonly moduleName: string
  readonly symbols: TargetSymbols
  /** Lets the target run for a moment. */
  settle(): Promise<void>
  /** Ends it from outside; resolves when the system knows it no more. */
  kill(): Promise<void>
}

/** An engine in a program of its own that has the lock of a process. */
export interface OtherEngine {
  /** Resolves when it has ended. */
  kill(): Promise<void>
}

/** What differs from system to system. */
export interface ConformanceHost {
  readonly backend: Backend
  /** Starts a fresh target that the suite will kill. */
  start(): Promise<StartedTarget>
  /** Starts an engine that takes the process' lock; resolves when it has it. */
  startEngine(pid: number): Promise<OtherEngine>
  /** Whether regions() shows the name that map() was given. */
  readonly showsNames: boolean
  /** Whether the system still shows a tracer or debugger at the process. */
  isAttached(pid: number): boolean
}

/** Steers a target through its control block, with the very process that is under test. */
export class TargetControl {
  readonly #target: StartedTarget
  readonly #process: Process

  constructor(target: StartedTarget, process: Process) {
    this.#target = target
    this.#process = process
  }

  get(field: ControlField): bigint {
    const bytes = this.#process.read(this.#address(field), 8)
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true)
  }

  set(field: ControlField, value: bigint): void {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigUint64(0, value, true)
    this.#process.write(this.#address(field), bytes)
  }

  /** Resolves when exactly `count` workers run. */
  async setWorkers(count: number): Promise<void> {
    this.set('wanted', BigInt(count))
    await this.#until(`${count} workers run`, () => this.get('running') === BigInt(count))
  }

  /** Resolves when one thread is inside the function `spin` and stays there. */
  async startSpinning(): Promise<void> {
    this.set('spin', 1n)
    await this.#until('a thread spins', () => this.get('spinning') === 1n)
  }

  async stopSpinning(): Promise<void> {
    this.set('spin', 0n)
    await this.#until('no thread spins', () => this.get('spinning') === 0n)
  }

  /** Resolves when the field has grown by `more`. */
  async grows(field: 'old' | 'new', more = 20n): Promise<void> {
    const before = this.get(field)
    await this.#until(`calls counted as ${field} go on`, () => this.get(field) >= before + more)
  }

  /** Resolves when nothing traces it: a thread that did not stop in time is let go some milliseconds later. */
  isLetGo(isAttached: () => boolean): Promise<void> {
    return this.#until('no tracer is left at it', () => !isAttached())
  }

  #address(field: ControlField): bigint {
    return this.#target.symbols.control + BigInt(8 * CONTROL_FIELDS.indexOf(field))
  }

  async #until(what: string, condition: () => boolean): Promise<void> {
    const deadline = Date.now() + PATIENCE
    while (!condition()) {
      if (Date.now() > deadline) throw new Error(`the target did not come to: ${what}`)
      await this.#target.settle()
    }
  }
}
