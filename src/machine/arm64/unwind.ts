/**
 * Walking a stopped thread's stack on ARM64 (see x64/unwind.ts). A function that has saved its return address restores x30 from the stack, the
 * innermost may still have it in the register. Return addresses may be signed: words of memory come here without the bits that are no
 * address (Architecture.unwinding.upperMask), and so must x30.
 *
 * The kernel's unwind data of a signal frame leads past the interrupted function, since its frame record holds what x29 and x30 were: the frame
 * itself is read instead, where the return address is `mov x8, #139; svc #0` (libgcc, LLVM's libunwind and gdb do the same).
 *
 * Windows' unwind data describe every instruction of prologues and epilogues; a function without a record is a leaf. Where its kernel made a
 * thread begin in the middle of something else, they say where pc and sp of that lie.
 */
import type { CfaRow, RegisterRule } from '../../binary/dwarf/cfa.ts'
import { evaluateExpression } from '../../binary/dwarf/expression.ts'
import { HotpatchError } from '../../errors.ts'
import { FrameKind } from '../x64/frames.ts'
import type { FrameModule, FrameVisitor, StackMemory, WalkEnd } from '../x64/unwind.ts'
import { decodeWord, INSTRUCTION_SIZE, wordAt } from './instructions.ts'
import { FRAME_POINTER, LINK_REGISTER, PROGRAM_COUNTER, REGISTER_COUNT, STACK_POINTER } from './registers.ts'

/** No address has as many bits; a number of 2^53 and more has lost its low ones. */
const ADDRESS_LIMIT = 2 ** 53
/** `mov x8, #139` (rt_sigreturn), `svc #0`. */
const SIGRETURN: readonly number[] = [0xd2801168, 0xd4000001]
/** asm/sigcontext.h: siginfo_t (128), uc_mcontext at 176 of ucontext_t, in it regs behind fault_address; then sp and pc. */
const SIGNAL_REGISTERS = 128 + 176 + 8
const SIGNAL_STACK_POINTER = SIGNAL_REGISTERS + 31 * 8
const SIGNAL_PROGRAM_COUNTER = SIGNAL_STACK_POINTER + 8

export class Walker {
  readonly registers = new Float64Array(REGISTER_COUNT)
  stackPointer = 0
  private readonly modules: readonly FrameModule[]
  private last: FrameModule | undefined
  private readonly scratch = new Float64Array(REGISTER_COUNT)
  private readonly instructions = new Uint8Array(8)

  /** `modules` by ascending start, not overlapping. */
  constructor(modules: readonly FrameModule[]) {
    this.modules = modules
  }

  walk(memory: StackMemory, visit: FrameVisitor, maxDepth = 65_536): WalkEnd {
    const registers = this.registers
    let exact = true
    for (let depth = 0; depth < maxDepth; depth++) {
      const ip = registers[PROGRAM_COUNTER] as number
      this.stackPointer = registers[STACK_POINTER] as number
      if (ip === 0) return 'end'
      if (visit(ip, depth, exact)) return 'found'
      const lookup = exact ? ip : ip - 1
      const module = this.moduleAt(lookup)
      if (module === undefined) return 'lost'
      const { table } = module
      const row = table.rowAt(lookup - module.start)
      const kind = table.kinds[row]
      if (kind === FrameKind.end) return 'end'
      const before = registers[STACK_POINTER] as number
      if (kind === FrameKind.none && exact && this.isLeaf(module, ip, memory)) {
        if (!this.enterCaller(before)) return 'lost'
        exact = false
        continue
      }
      if (kind === FrameKind.none || kind === FrameKind.complex) {
        if (this.isSignalReturn(ip, memory)) {
          if (!this.signalStep(memory)) return 'lost'
          exact = true
          continue
        }
        const complex = kind === FrameKind.complex ? table.complex[table.operands[row] as number] : undefined
        if (complex?.signal && complex.row.registers.has(PROGRAM_COUNTER)) {
          if (!this.interruptedStep(complex.row, memory)) return 'lost'
          exact = true
          continue
        }
        if (complex === undefined || complex.signal || !this.complexStep(complex.row, memory)) return 'lost'
      } else {
        const saved = table.savedSets[table.saved[row] as number] as Int32Array
        const base = kind === FrameKind.rsp ? STACK_POINTER : FRAME_POINTER
        if (!this.restore(base, table.operands[row] as number, saved, memory)) return 'lost'
      }
      // Only the innermost frame may have put nothing on the stack.
      const after = registers[STACK_POINTER] as number
      if (!(exact ? after >= before : after > before)) return 'lost'
      exact = false
    }
    return 'lost'
  }

  private moduleAt(address: number): FrameModule | undefined {
    const last = this.last
    if (last !== undefined && address >= last.start && address < last.end) return last
    let low = 0
    let high = this.modules.length - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      const module = this.modules[middle] as FrameModule
      if (address < module.start) high = middle - 1
      else if (address >= module.end) low = middle + 1
      else {
        this.last = module
        return module
      }
    }
    return undefined
  }

  /** Whether it is code of Windows without a record. What it has in x30 must be a return address: not all such code is a leaf. */
  private isLeaf({ windows, start }: FrameModule, ip: number, memory: StackMemory): boolean {
    if (windows === undefined || windows.indexAt(ip - start) >= 0) return false
    const back = this.registers[LINK_REGISTER] as number
    if (back === 0) return true
    const call = this.instructions.subarray(0, INSTRUCTION_SIZE)
    if (!(back > INSTRUCTION_SIZE) || memory.code(back - INSTRUCTION_SIZE, call) !== INSTRUCTION_SIZE) return false
    const { flow } = decodeWord(wordAt(call, 0))
    return flow === 'call' || flow === 'call-indirect'
  }

  private isSignalReturn(ip: number, memory: StackMemory): boolean {
    const code = this.instructions
    return memory.code(ip, code) === code.length && SIGRETURN.every((word, i) => wordAt(code, 4 * i) === word)
  }

  private signalStep(memory: StackMemory): boolean {
    const registers = this.registers
    const frame = registers[STACK_POINTER] as number
    const [stack, counter] = [memory.word(frame + SIGNAL_STACK_POINTER), memory.word(frame + SIGNAL_PROGRAM_COUNTER)]
    if (!(stack > 0 && counter > 0)) return false
    for (let register = 0; register <= LINK_REGISTER; register++) registers[register] = memory.word(frame + SIGNAL_REGISTERS + 8 * register)
    registers[STACK_POINTER] = stack
    registers[PROGRAM_COUNTER] = counter
    return true
  }

  /** A frame that holds all registers of what was interrupted, or its pc and sp. Both are saved at offsets from the CFA. */
  private interruptedStep({ cfa, registers: rules }: CfaRow, memory: StackMemory): boolean {
    const registers = this.registers
    if (cfa.kind !== 'register') return false
    const value = (registers[cfa.register] as number) + cfa.offset
    for (const [register, rule] of rules)
      if (rule.kind === 'offset' && register < REGISTER_COUNT) registers[register] = memory.word(value + rule.offset)
    return (registers[STACK_POINTER] as number) > 0 && (registers[PROGRAM_COUNTER] as number) > 0
  }

  /** Takes a frame back whose CFA is `register` + `offset`. */
  private restore(register: number, offset: number, saved: Int32Array, memory: StackMemory): boolean {
    const registers = this.registers
    const cfa = (registers[register] as number) + offset
    for (let i = 0; i < saved.length; i += 2) registers[saved[i] as number] = memory.word(cfa + (saved[i + 1] as number))
    return this.enterCaller(cfa)
  }

  private enterCaller(cfa: number): boolean {
    const registers = this.registers
    const next = registers[LINK_REGISTER] as number
    if (!(next >= 0 && next < ADDRESS_LIMIT && cfa > 0)) return false
    registers[PROGRAM_COUNTER] = next
    registers[STACK_POINTER] = cfa
    return true
  }

  /** One frame by the general rules of DWARF. false: a rule could not be followed. */
  private complexStep({ cfa, registers: rules }: CfaRow, memory: StackMemory): boolean {
    const registers = this.registers
    const context: Context = {
      register: (number) => toBig(registers[number]),
      memory: (address, size) => {
        const word = toBig(memory.word(Number(address)))
        return word === undefined ? undefined : BigInt.asUintN(size * 8, word)
      },
    }
    try {
      const value =
        cfa.kind === 'register'
          ? (registers[cfa.register] ?? Number.NaN) + cfa.offset
          : toNumber(evaluateExpression(cfa.expression, context))
      const next = this.scratch
      next.set(registers)
      for (const [register, rule] of rules)
        if (register <= LINK_REGISTER) next[register] = ruleValue(rule, value, registers, memory, context)
      registers.set(next)
      return this.enterCaller(value)
    } catch (error) {
      if (error instanceof HotpatchError) return false
      throw error
    }
  }
}

type Context = Parameters<typeof evaluateExpression>[1]

function ruleValue(rule: RegisterRule, cfa: number, registers: Float64Array, memory: StackMemory, context: Context): number {
  switch (rule.kind) {
    case 'undefined':
      return Number.NaN
    case 'offset':
      return memory.word(cfa + rule.offset)
    case 'val-offset':
      return cfa + rule.offset
    case 'register':
      return registers[rule.register] ?? Number.NaN
    case 'expression':
      return memory.word(toNumber(evaluateExpression(rule.expression, context, [BigInt(cfa)])))
    case 'val-expression':
      return toNumber(evaluateExpression(rule.expression, context, [BigInt(cfa)]))
  }
}

const toBig = (value: number | undefined): bigint | undefined =>
  value === undefined || !Number.isInteger(value) || value < 0 ? undefined : BigInt(value)
const toNumber = (value: bigint | undefined): number => (value === undefined ? Number.NaN : Number(value))
