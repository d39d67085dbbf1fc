/**
 * The inspection, rehearsed on threads that do not exist: JavaScript is compiled while it runs, and must not be while a target stands
 * still. The rows are of the kinds that real stacks are made of.
 */
import { type CfaRow, DW_CFA } from '../../binary/dwarf/cfa.ts'
import type { FrameFunction } from '../../binary/dwarf/frames.ts'
import { DW_EH_PE } from '../../binary/dwarf/pointers.ts'
import type { Machine, Unwinding } from '../../machine/architecture.ts'
import { architectureOf } from '../../machine/architectures.ts'
import type { FrameTable } from '../../machine/x64/frames.ts'
import type { StoppedThreads } from '../../process/contract.ts'
import { rehearse } from '../../process/rehearse.ts'
import { BELOW } from '../../process/stack-windows.ts'
import { type Inspection, prepareInspection } from './inspection.ts'

const CODE = 0x4000_0000_0000
const STACK = 0x7000_0000_0000
const FRAMES = 40
const FRAME_SIZE = 32
const FUNCTION_SIZE = 0x40
/** RVA. */
const FIRST_FUNCTION = 0x1000
const THREADS = 8
const ROUNDS = 60
const PREVIEWS = 3

const rehearsals = new Map<Machine, () => void>()
let compiled = false

/** For SwitchRequest.rehearse. */
export const rehearsalOf = (machine: Machine, inspection: Inspection) => (waiting: StoppedThreads) => {
  rehearseInspection(machine)
  for (let round = 0; round < PREVIEWS; round++) inspection.rehearse(waiting)
}

/** The first time takes some milliseconds, until everything is compiled; later ones bring it back into the processor's caches. */
export function rehearseInspection(machine: Machine): void {
  const rehearsal = rehearsals.get(machine) ?? makeRehearsal(machine)
  rehearsals.set(machine, rehearsal)
  rehearse(compiled ? 1 : ROUNDS, rehearsal)
  compiled = true
}

/** One table of each kind, all of the same 200 functions. */
export function rehearsedTables(unwinding: Unwinding): readonly FrameTable[] {
  const functions = Array.from({ length: 200 }, (_, i) => ({
    start: FIRST_FUNCTION + i * FUNCTION_SIZE,
    size: FUNCTION_SIZE,
    rows: [rowAt(unwinding, 0, 8), rowAt(unwinding, 4, FRAME_SIZE)],
    signal: false,
  }))
  const byNeed = unwinding.framesByNeed({
    count: functions.length,
    indexAt: (rva) => Math.floor((rva - FIRST_FUNCTION) / FUNCTION_SIZE),
    append(index, rows) {
      const { start, size } = functions[index] as FrameFunction
      rows.appendRows(functions[index] as FrameFunction, start + size)
    },
  })
  return [unwinding.ehFrameTable(sectionOf(unwinding, functions), 0, 0), byNeed, unwinding.frameTable(functions)]
}

function makeRehearsal(machine: Machine): () => void {
  const { unwinding } = architectureOf(machine)
  const modules = rehearsedTables(unwinding).map((table, i) => ({ start: CODE + i * 0x10_0000, end: CODE + (i + 1) * 0x10_0000, table }))
  const frames = [1, 2, 3].map((i) => ({ start: BigInt(CODE - i * 0x100), end: BigInt(CODE - i * 0x100 + 0x40), function: i }))
  const regions = [{ start: BigInt(STACK), end: BigInt(STACK + 0x10000), read: true, write: true, execute: false, name: '' }]
  const { inspect } = prepareInspection({ pid: 0, machine }, { instructions: frames, frames }, { modules, regions })
  const threads = new RehearsedThreads(unwinding)
  return () => void inspect(threads)
}

/** The same functions as an .eh_frame, the kind of table that most of a stack on Linux is looked up in. */
function sectionOf({ stackPointer, framePointer, returnAddress }: Unwinding, functions: readonly FrameFunction[]): Uint8Array {
  const word = (value: number): number[] => [...new Uint8Array(Uint32Array.of(value).buffer)]
  const record = (...content: readonly number[]): number[] => {
    const padding = -content.length & 3
    return [...word(content.length + padding), ...content, ...new Uint8Array(padding)]
  }
  // Version 1, "zR"; alignments 1 and -8; begins and sizes are plain numbers of 4 bytes.
  const head = [...word(0), 1, ...Buffer.from('zR\0'), 1, 0x78, returnAddress, 1, DW_EH_PE.udata4]
  const bytes = record(...head, DW_CFA.def_cfa, stackPointer, 8, DW_CFA.offset | returnAddress, 1)
  const body = [0, DW_CFA.advance_loc | 4, DW_CFA.def_cfa_offset, FRAME_SIZE, DW_CFA.offset | framePointer, 2]
  for (const { start, size } of functions) bytes.push(...record(...word(bytes.length + 4), ...word(start), ...word(size), ...body))
  return Uint8Array.from(bytes)
}

const rowAt = ({ stackPointer, framePointer, returnAddress }: Unwinding, start: number, offset: number): CfaRow => ({
  start,
  cfa: { kind: 'register', register: stackPointer, offset },
  registers: new Map([
    [returnAddress, { kind: 'offset', offset: -8 }],
    ...(offset > 8 ? [[framePointer, { kind: 'offset', offset: -16 }] as const] : []),
  ]),
  returnAddressSigned: false,
})

/** Each in the middle of FRAMES functions, the outermost called by nobody. */
class RehearsedThreads implements StoppedThreads {
  readonly count = THREADS
  readonly #words = new Uint32Array((BELOW + FRAMES * FRAME_SIZE) / 4)

  readonly #unwinding: Unwinding

  constructor(unwinding: Unwinding) {
    this.#unwinding = unwinding
    for (let frame = 0; frame < FRAMES - 1; frame++) {
      const at = (BELOW + (frame + 1) * FRAME_SIZE - 8) / 4
      const address = CODE + (frame % 3) * 0x10_0000 + FIRST_FUNCTION + frame * FUNCTION_SIZE + 0x10
      this.#words[at] = address % 2 ** 32
      this.#words[at + 1] = address / 2 ** 32
    }
  }

  id(index: number): number {
    return index + 1
  }

  instructionPointer(): bigint {
    return BigInt(CODE + 0x1010)
  }

  stackPointer(): bigint {
    return BigInt(STACK + BELOW)
  }

  registers(_index: number, into: Float64Array): void {
    into.fill(0)
    into[this.#unwinding.stackPointer] = STACK + BELOW
    into[this.#unwinding.instructionPointer] = CODE + 0x1010
  }

  threadPointer(): number {
    return Number.NaN
  }

  stack() {
    return { address: STACK, length: this.#words.byteLength, words: this.#words, at: 0 }
  }

  read(): number {
    return 0
  }
}
