/**
 * DWARF expressions as unwind data uses them (DWARF 5, section 2.5): a stack machine over 64-bit values. PLT stubs and signal frames
 * have them. Location descriptions and calls into debug data do not occur here and are refused.
 */
import { HotpatchError } from '../../errors.ts'
import { Cursor } from './cursor.ts'

/** DW_OP_*; lit0 to lit31, reg0 to reg31 and breg0 to breg31 are ranges. */
export const DW_OP = {
  addr: 0x03,
  deref: 0x06,
  const1u: 0x08,
  const1s: 0x09,
  const2u: 0x0a,
  const2s: 0x0b,
  const4u: 0x0c,
  const4s: 0x0d,
  const8u: 0x0e,
  const8s: 0x0f,
  constu: 0x10,
  consts: 0x11,
  dup: 0x12,
  drop: 0x13,
  over: 0x14,
  pick: 0x15,
  swap: 0x16,
  rot: 0x17,
  abs: 0x19,
  and: 0x1a,
  div: 0x1b,
  minus: 0x1c,
  mod: 0x1d,
  mul: 0x1e,
  neg: 0x1f,
  not: 0x20,
  or: 0x21,
  plus: 0x22,
  plus_uconst: 0x23,
  shl: 0x24,
  shr: 0x25,
  shra: 0x26,
  xor: 0x27,
  bra: 0x28,
  eq: 0x29,
  ge: 0x2a,
  gt: 0x2b,
  le: 0x2c,
  lt: 0x2d,
  ne: 0x2e,
  skip: 0x2f,
  lit0: 0x30,
  lit31: 0x4f,
  breg0: 0x70,
  breg31: 0x8f,
  bregx: 0x92,
  deref_size: 0x94,
  nop: 0x96,
} as const

export interface ExpressionContext {
  /** The value of a DWARF register in the frame; undefined: not known. */
  register(number: number): bigint | undefined
  /** `size` bytes of the target's memory as an unsigned number; undefined: cannot be read. */
  memory(address: bigint, size: number): bigint | undefined
}

const LIMITS = { steps: 10_000, depth: 256 }
const u64 = (value: bigint): bigint => BigInt.asUintN(64, value)
const s64 = (value: bigint): bigint => BigInt.asIntN(64, value)
const truth = (value: boolean): bigint => (value ? 1n : 0n)

const BINARY: Readonly<Record<number, (a: bigint, b: bigint) => bigint | undefined>> = {
  [DW_OP.and]: (a, b) => a & b,
  [DW_OP.or]: (a, b) => a | b,
  [DW_OP.xor]: (a, b) => a ^ b,
  [DW_OP.plus]: (a, b) => a + b,
  [DW_OP.minus]: (a, b) => a - b,
  [DW_OP.mul]: (a, b) => a * b,
  [DW_OP.div]: (a, b) => (b === 0n ? undefined : s64(a) / s64(b)),
  [DW_OP.mod]: (a, b) => (b === 0n ? undefined : a % b),
  [DW_OP.shl]: (a, b) => (b > 63n ? 0n : a << b),
  [DW_OP.shr]: (a, b) => (b > 63n ? 0n : a >> b),
  [DW_OP.shra]: (a, b) => s64(a) >> (b > 63n ? 63n : b),
  [DW_OP.eq]: (a, b) => truth(a === b),
  [DW_OP.ne]: (a, b) => truth(a !== b),
  [DW_OP.ge]: (a, b) => truth(s64(a) >= s64(b)),
  [DW_OP.gt]: (a, b) => truth(s64(a) > s64(b)),
  [DW_OP.le]: (a, b) => truth(s64(a) <= s64(b)),
  [DW_OP.lt]: (a, b) => truth(s64(a) < s64(b)),
}

const CONSTANTS: Readonly<Record<number, (from: Cursor) => bigint>> = {
  [DW_OP.addr]: (from) => from.u64(),
  [DW_OP.const1u]: (from) => BigInt(from.u8()),
  [DW_OP.const1s]: (from) => BigInt(from.i8()),
  [DW_OP.const2u]: (from) => BigInt(from.u16()),
  [DW_OP.const2s]: (from) => BigInt(from.i16()),
  [DW_OP.const4u]: (from) => BigInt(from.u32()),
  [DW_OP.const4s]: (from) => BigInt(from.i32()),
  [DW_OP.const8u]: (from) => from.u64(),
  [DW_OP.const8s]: (from) => from.i64(),
  [DW_OP.constu]: (from) => BigInt(from.uleb()),
  [DW_OP.consts]: (from) => BigInt(from.sleb()),
}

const UNARY: Readonly<Record<number, (a: bigint) => bigint>> = {
  [DW_OP.abs]: (a) => (s64(a) < 0n ? -s64(a) : a),
  [DW_OP.neg]: (a) => -a,
  [DW_OP.not]: (a) => ~a,
}

/**
 * Runs an expression over `initial` (the CFA, for register rules) and gives the top of the stack; undefined where a register or
 * memory that it needs is not known. Throws MALFORMED for an operation that does not belong in unwind data or does not end.
 */
export function evaluateExpression(
  expression: Uint8Array,
  context: ExpressionContext,
  initial: readonly bigint[] = [],
): bigint | undefined {
  const from = new Cursor(expression)
  const stack: bigint[] = [...initial]
  const pop = (): bigint => {
    const value = stack.pop()
    if (value === undefined) throw new HotpatchError('MALFORMED', 'a DWARF expression takes from an empty stack')
    return value
  }
  const push = (value: bigint): void => {
    if (stack.length >= LIMITS.depth) throw new HotpatchError('MALFORMED', 'a DWARF expression fills its stack')
    stack.push(u64(value))
  }
  const peek = (depth: number): bigint => {
    const value = stack[stack.length - 1 - depth]
    if (value === undefined) throw new HotpatchError('MALFORMED', 'a DWARF expression picks below its stack')
    return value
  }

  for (let steps = 0; !from.done; steps++) {
    if (steps > LIMITS.steps) throw new HotpatchError('MALFORMED', 'a DWARF expression does not end')
    const op = from.u8()
    const constant = CONSTANTS[op]
    const binary = BINARY[op]
    const unary = UNARY[op]
    if (op >= DW_OP.lit0 && op <= DW_OP.lit31) push(BigInt(op - DW_OP.lit0))
    else if ((op >= DW_OP.breg0 && op <= DW_OP.breg31) || op === DW_OP.bregx) {
      const value = context.register(op === DW_OP.bregx ? from.uleb() : op - DW_OP.breg0)
      const offset = from.sleb()
      if (value === undefined) return undefined
      push(value + BigInt(offset))
    } else if (constant) push(constant(from))
    else if (unary) push(unary(pop()))
    else if (binary) {
      const b = pop()
      const value = binary(pop(), b)
      if (value === undefined) return undefined
      push(value)
    } else
      switch (op) {
        case DW_OP.deref:
        case DW_OP.deref_size: {
          const size = op === DW_OP.deref ? 8 : from.u8()
          if (size === 0 || size > 8) throw new HotpatchError('MALFORMED', `a DWARF expression reads ${size} bytes`)
          const value = context.memory(pop(), size)
          if (value === undefined) return undefined
          push(value)
          break
        }
        case DW_OP.dup:
          push(peek(0))
          break
        case DW_OP.drop:
          pop()
          break
        case DW_OP.over:
          push(peek(1))
          break
        case DW_OP.pick:
          push(peek(from.u8()))
          break
        case DW_OP.swap: {
          const a = pop()
          const b = pop()
          push(a)
          push(b)
          break
        }
        case DW_OP.rot: {
          const a = pop()
          const b = pop()
          const c = pop()
          push(a)
          push(c)
          push(b)
          break
        }
        case DW_OP.plus_uconst:
          push(pop() + BigInt(from.uleb()))
          break
        case DW_OP.skip:
        case DW_OP.bra: {
          const distance = from.i16()
          if (op === DW_OP.bra && pop() === 0n) break
          const to = from.at + distance
          if (to < 0 || to > expression.length) throw new HotpatchError('MALFORMED', 'a DWARF expression jumps out of itself')
          from.at = to
          break
        }
        case DW_OP.nop:
          break
        default:
          throw new HotpatchError('MALFORMED', `a DWARF expression in unwind data has the operation 0x${op.toString(16)}`)
      }
  }
  return pop()
}
