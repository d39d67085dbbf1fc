/**
 * ARM64 unwind information as rows of call frame information: each instruction of a prologue and of an epilogue begins one. DWARF's
 * numbers: 0 to 30 are x0 to x30, 31 is sp, 32 pc, which only frames that the kernel made save.
 */
import type { CfaRow, RegisterRule } from '../dwarf/cfa.ts'
import { type Arm64Code, type Arm64Unwind, isCustomFrame, sequenceLength } from './unwind-arm64.ts'

const FRAME_POINTER = 29
const STACK_POINTER = 31
const PROGRAM_COUNTER = 32
const INSTRUCTION = 4

/** ARM64_NT_CONTEXT: ContextFlags and Cpsr, then X0 to X28, Fp, Lr, Sp, Pc. */
const CONTEXT_REGISTERS = 8

/** Rows relative to the function's begin. undefined: some of it depends on what unwind information does not say (the length of vectors). */
export function arm64Rows({ functionLength, codes, epilogues }: Arm64Unwind): CfaRow[] | undefined {
  const rows = new Map<number, CfaRow>()
  const add = (start: number, remaining: readonly Arm64Code[]): boolean => {
    if (start < 0 || start >= functionLength) return true
    const row = rowFor(start, remaining)
    if (row !== undefined) rows.set(start, row)
    return row !== undefined
  }
  // A frame that the kernel made has no prologue.
  const prologue = codes.some(isCustomFrame) ? 0 : sequenceLength(codes) / INSTRUCTION
  // So many instructions have run: so many codes, the last of the prologue's, are to be taken back.
  for (let done = 0; done <= prologue; done++) if (!add(done * INSTRUCTION, codes.slice(prologue - done))) return undefined
  for (const epilogue of epilogues) {
    const length = sequenceLength(epilogue.codes) / INSTRUCTION
    for (let done = 0; done <= length; done++) if (!add(epilogue.start + done * INSTRUCTION, epilogue.codes.slice(done))) return undefined
    // Behind its return instruction the body goes on.
    const after = epilogue.start + (length + 1) * INSTRUCTION
    if (!rows.has(after) && !add(after, codes)) return undefined
  }
  return [...rows.values()].sort((a, b) => a.start - b.start)
}

/** What taking back has found so far. Places count from `origin`. */
interface State {
  origin: number
  /** Of sp, from `origin`; undefined: nobody knows. */
  stack: number | undefined
  readonly places: Map<number, number>
  signed: boolean
}

/** undefined: where the frame ends cannot be told. */
function rowFor(start: number, codes: readonly Arm64Code[]): CfaRow | undefined {
  const state: State = { origin: STACK_POINTER, stack: 0, places: new Map(), signed: false }
  let more = 0
  for (const code of codes) {
    if (code.op === 'end') break
    if (isCustomFrame(code)) return customRow(start, code.op, state)
    if (code.op === 'save-next') more++
    else {
      if (!takeBack(state, code, more)) return undefined
      more = 0
    }
  }
  const { origin, stack, places, signed } = state
  if (stack === undefined) return undefined
  const registers = new Map<number, RegisterRule>()
  for (const [register, place] of places) registers.set(register, { kind: 'offset', offset: place - stack })
  return { start, cfa: { kind: 'register', register: origin, offset: stack }, registers, returnAddressSigned: signed }
}

/** false: it needs sp, which is not known. */
function takeBack(state: State, code: Arm64Code, more: number): boolean {
  switch (code.op) {
    case 'alloc':
      if (state.stack !== undefined) state.stack += code.size
      return true
    case 'alloc-scalable':
      state.stack = undefined
      return true
    case 'set-frame':
      return fromFrame(state, code.offset)
    case 'save':
      return restore(state, code, more)
    case 'sign':
      state.signed = true
      return true
    default:
      return true
  }
}

/** What was lowered and stored since x29 was set counts from x29 now. false: how much that was is not known. */
function fromFrame(state: State, offset: number): boolean {
  const { places, stack } = state
  if (places.has(FRAME_POINTER) || (places.size > 0 && stack === undefined)) return false
  for (const [register, place] of places) places.set(register, place - (stack as number) - offset)
  state.origin = FRAME_POINTER
  state.stack = -offset
  return true
}

/** Numbers of the last pair that `save_next` can mean: x29 and x30. */
const LAST_PAIR = 29

function restore(state: State, { kind, registers, offset, writeBack }: Extract<Arm64Code, { op: 'save' }>, more: number): boolean {
  const { stack, places } = state
  if (stack === undefined) return kind !== 'x' && !writeBack
  if (kind === 'x') {
    const [first = 0, second] = registers
    if (more > 0 && (second !== first + 1 || first + 2 * more > LAST_PAIR)) return false
    const at = writeBack ? stack : stack + offset
    // A register that was stored twice has in the outer place what its caller had.
    for (const [i, register] of registers.entries()) places.set(register, at + 8 * i)
    for (let i = 2; i < 2 * more + 2; i++) places.set(first + i, at + 8 * i)
  }
  if (writeBack) state.stack = stack + offset
  return true
}

/** A frame that the kernel made, with pc and sp of what was interrupted. */
function customRow(start: number, op: string, { origin, stack }: State): CfaRow | undefined {
  if (stack === undefined || (op !== 'machine-frame' && op !== 'context')) return undefined
  const at = (offset: number): RegisterRule => ({ kind: 'offset', offset })
  const registers = new Map<number, RegisterRule>()
  if (op === 'machine-frame') registers.set(STACK_POINTER, at(0)).set(PROGRAM_COUNTER, at(8))
  else for (let register = 0; register <= PROGRAM_COUNTER; register++) registers.set(register, at(CONTEXT_REGISTERS + 8 * register))
  return { start, cfa: { kind: 'register', register: origin, offset: stack }, registers, returnAddressSigned: false }
}
