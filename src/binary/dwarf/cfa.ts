/**
 * Call frame information: the rows of DWARF's unwind table (DWARF 5, section 6.4), made by running the instructions of a CIE and
 * an FDE. A row says, for a range of code, where the canonical frame address (CFA) is and where each register was saved.
 */
import { HotpatchError } from '../../errors.ts'
import { Cursor } from './cursor.ts'

/** DW_CFA_*: the three primary opcodes hold their operand in the low 6 bits. */
export const DW_CFA = {
  advance_loc: 0x40,
  offset: 0x80,
  restore: 0xc0,
  nop: 0x00,
  set_loc: 0x01,
  advance_loc1: 0x02,
  advance_loc2: 0x03,
  advance_loc4: 0x04,
  offset_extended: 0x05,
  restore_extended: 0x06,
  undefined: 0x07,
  same_value: 0x08,
  register: 0x09,
  remember_state: 0x0a,
  restore_state: 0x0b,
  def_cfa: 0x0c,
  def_cfa_register: 0x0d,
  def_cfa_offset: 0x0e,
  def_cfa_expression: 0x0f,
  expression: 0x10,
  offset_extended_sf: 0x11,
  def_cfa_sf: 0x12,
  def_cfa_offset_sf: 0x13,
  val_offset: 0x14,
  val_offset_sf: 0x15,
  val_expression: 0x16,
  /** AArch64: the return address's signedness flips (DW_CFA_AARCH64_negate_ra_state); GNU_window_save elsewhere. */
  AARCH64_negate_ra_state: 0x2d,
  GNU_args_size: 0x2e,
  GNU_negative_offset_extended: 0x2f,
} as const

export type CfaRule =
  | { readonly kind: 'register'; readonly register: number; readonly offset: number }
  | { readonly kind: 'expression'; readonly expression: Uint8Array }

export type RegisterRule =
  /** The register has no value in the caller: for the return address, the end of the stack. */
  | { readonly kind: 'undefined' }
  /** Saved at CFA + offset. */
  | { readonly kind: 'offset'; readonly offset: number }
  /** Its value is CFA + offset. */
  | { readonly kind: 'val-offset'; readonly offset: number }
  | { readonly kind: 'register'; readonly register: number }
  /** Saved at the address that the expression gives, CFA pushed first. */
  | { readonly kind: 'expression'; readonly expression: Uint8Array }
  /** Its value is what the expression gives, CFA pushed first. */
  | { readonly kind: 'val-expression'; readonly expression: Uint8Array }

export interface CfaRow {
  /** First code offset that the row is for, from the function's start; it holds up to the next row's. */
  readonly start: number
  readonly cfa: CfaRule
  /** By DWARF register number. Absent: unchanged (same value). */
  readonly registers: ReadonlyMap<number, RegisterRule>
  /** AArch64: the saved return address is signed. */
  readonly returnAddressSigned: boolean
}

export interface CfaProgram {
  readonly codeAlignment: number
  readonly dataAlignment: number
  readonly initialInstructions: Uint8Array
  readonly instructions: Uint8Array
  /** The size of the code that the FDE covers: rows past it are MALFORMED. */
  readonly size: number
}

/** Generous beyond any compiler's output; damaged data must not eat memory. */
const LIMITS = { rows: 100_000, remembered: 256 }

interface State {
  cfa: CfaRule | undefined
  /** Replaced, never changed: most rows change the CFA alone and share the rest with the row before. */
  registers: ReadonlyMap<number, RegisterRule>
  signed: boolean
}

function withRule(
  registers: ReadonlyMap<number, RegisterRule>,
  register: number,
  rule: RegisterRule | undefined,
): ReadonlyMap<number, RegisterRule> {
  const changed = new Map(registers)
  if (rule === undefined) changed.delete(register)
  else changed.set(register, rule)
  return changed
}

/** The rows of one FDE, by ascending start; the first starts at 0. Throws MALFORMED, TRUNCATED. */
export function cfaRows(program: CfaProgram): CfaRow[] {
  const state: State = { cfa: undefined, registers: new Map(), signed: false }
  const rows: CfaRow[] = []
  run(program, program.initialInstructions, state, undefined, () => {
    throw new HotpatchError('MALFORMED', 'a CIE advances the location')
  })
  const initial = state.registers
  let start = 0
  const emit = (next: number): void => {
    if (next > program.size) throw new HotpatchError('MALFORMED', `a row begins at ${next} of a function of ${program.size} bytes`)
    if (next < start) throw new HotpatchError('MALFORMED', `a location goes back from ${start} to ${next}`)
    if (next === start) return
    rows.push(row(start, state))
    if (rows.length > LIMITS.rows) throw new HotpatchError('MALFORMED', `a function has more than ${LIMITS.rows} rows of unwind data`)
    start = next
  }
  run(program, program.instructions, state, initial, (delta) => emit(start + delta * program.codeAlignment))
  rows.push(row(start, state))
  return rows
}

function row(start: number, state: State): CfaRow {
  if (state.cfa === undefined) throw new HotpatchError('MALFORMED', 'a row of unwind data defines no CFA')
  return { start, cfa: state.cfa, registers: state.registers, returnAddressSigned: state.signed }
}

function run(
  { dataAlignment }: CfaProgram,
  instructions: Uint8Array,
  state: State,
  initial: ReadonlyMap<number, RegisterRule> | undefined,
  advance: (delta: number) => void,
): void {
  const from = new Cursor(instructions)
  const remembered: State[] = []
  const set = (register: number, rule: RegisterRule | undefined): void => {
    state.registers = withRule(state.registers, register, rule)
  }
  const restore = (register: number): void => set(register, initial?.get(register))
  const block = (): Uint8Array => from.bytes(from.uleb())
  const offsetOf = (change: (rule: { register: number; offset: number }) => { register: number; offset: number }): void => {
    if (state.cfa?.kind !== 'register') throw new HotpatchError('MALFORMED', 'a CFA offset is changed where the CFA is no register')
    state.cfa = { kind: 'register', ...change(state.cfa) }
  }

  while (!from.done) {
    const op = from.u8()
    const low = op & 0x3f
    switch (op & 0xc0) {
      case DW_CFA.advance_loc:
        advance(low)
        continue
      case DW_CFA.offset:
        set(low, { kind: 'offset', offset: from.uleb() * dataAlignment })
        continue
      case DW_CFA.restore:
        restore(low)
        continue
    }
    switch (op) {
      case DW_CFA.nop:
        break
      case DW_CFA.advance_loc1:
        advance(from.u8())
        break
      case DW_CFA.advance_loc2:
        advance(from.u16())
        break
      case DW_CFA.advance_loc4:
        advance(from.u32())
        break
      case DW_CFA.offset_extended:
        set(from.uleb(), { kind: 'offset', offset: from.uleb() * dataAlignment })
        break
      case DW_CFA.offset_extended_sf:
        set(from.uleb(), { kind: 'offset', offset: from.sleb() * dataAlignment })
        break
      case DW_CFA.GNU_negative_offset_extended:
        set(from.uleb(), { kind: 'offset', offset: -from.uleb() * dataAlignment })
        break
      case DW_CFA.val_offset:
        set(from.uleb(), { kind: 'val-offset', offset: from.uleb() * dataAlignment })
        break
      case DW_CFA.val_offset_sf:
        set(from.uleb(), { kind: 'val-offset', offset: from.sleb() * dataAlignment })
        break
      case DW_CFA.restore_extended:
        restore(from.uleb())
        break
      case DW_CFA.undefined:
        set(from.uleb(), { kind: 'undefined' })
        break
      case DW_CFA.same_value:
        set(from.uleb(), undefined)
        break
      case DW_CFA.register:
        set(from.uleb(), { kind: 'register', register: from.uleb() })
        break
      case DW_CFA.expression:
        set(from.uleb(), { kind: 'expression', expression: block() })
        break
      case DW_CFA.val_expression:
        set(from.uleb(), { kind: 'val-expression', expression: block() })
        break
      case DW_CFA.remember_state:
        if (remembered.length >= LIMITS.remembered) throw new HotpatchError('MALFORMED', 'unwind data remembers too many states')
        remembered.push({ cfa: state.cfa, registers: state.registers, signed: state.signed })
        break
      case DW_CFA.restore_state: {
        const last = remembered.pop()
        if (last === undefined) throw new HotpatchError('MALFORMED', 'unwind data restores a state that it did not remember')
        Object.assign(state, last)
        break
      }
      case DW_CFA.def_cfa:
        state.cfa = { kind: 'register', register: from.uleb(), offset: from.uleb() }
        break
      case DW_CFA.def_cfa_sf:
        state.cfa = { kind: 'register', register: from.uleb(), offset: from.sleb() * dataAlignment }
        break
      case DW_CFA.def_cfa_register: {
        const register = from.uleb()
        offsetOf(({ offset }) => ({ register, offset }))
        break
      }
      case DW_CFA.def_cfa_offset: {
        const offset = from.uleb()
        offsetOf(({ register }) => ({ register, offset }))
        break
      }
      case DW_CFA.def_cfa_offset_sf: {
        const offset = from.sleb() * dataAlignment
        offsetOf(({ register }) => ({ register, offset }))
        break
      }
      case DW_CFA.def_cfa_expression:
        state.cfa = { kind: 'expression', expression: block() }
        break
      case DW_CFA.AARCH64_negate_ra_state:
        state.signed = !state.signed
        break
      case DW_CFA.GNU_args_size:
        from.uleb()
        break
      default:
        throw new HotpatchError('MALFORMED', `unwind data has the unknown instruction 0x${op.toString(16)}`)
    }
  }
}
