/**
 * Walking a stopped thread's stack with frame tables. Addresses are numbers here, not bigint: user addresses on x64 are below 2^47,
 * and this runs while a target stands still. Nothing is allocated per frame except where a row is complex.
 */
import type { CfaRow, RegisterRule } from '../../binary/dwarf/cfa.ts'
import { evaluateExpression } from '../../binary/dwarf/expression.ts'
import { HotpatchError } from '../../errors.ts'
import { endsInCall, epilogueAt, LONGEST_CALL, returnAt } from './epilogue.ts'
import { FrameKind, type FrameTable, RBP, REGISTER_COUNT, RETURN_ADDRESS, RSP } from './frames.ts'

/** A module whose unwind data has been compiled. */
export interface FrameModule {
  readonly start: number
  readonly end: number
  readonly table: FrameTable
  /** For code that follows Windows' conventions. */
  readonly windows?: WindowsFunctions
}

/**
 * Stretches of code that have unwind information; RVAs. On Windows a function that has none is a leaf: it moved nothing. One that has is
 * described but for its epilogues, which a thread stopped in one shows by the instructions that it is to execute next (epilogue.ts).
 */
export interface WindowsFunctions {
  /** The index of the stretch that `rva` lies in; -1: it is in none. */
  indexAt(rva: number): number
  at(index: number): {
    /** Begin of the function that the stretch is a part of. */
    readonly primary: number
  }
}

/** Memory of the target as it was read in bulk, or still can be read. */
export interface StackMemory {
  /** The little-endian word of 8 bytes at `address`; NaN where it cannot be read. Values of 2^53 and more lose low bits. */
  word(address: number): number
  /** Reads code: how many bytes of `into` could be filled, from its start on. Seldom asked for, but in Windows' code. */
  code(address: number, into: Uint8Array): number
}

/**
 * What is told of each frame, innermost first. `address` is what lies in the frame: for frame 0 and above a signal frame the
 * instruction pointer, else a return address. Returning true ends the walk.
 */
export type FrameVisitor = (address: number, depth: number, exact: boolean) => boolean

export type WalkEnd =
  /** The visitor ended it. */
  | 'found'
  /** The outermost frame was reached: every frame was seen. */
  | 'end'
  /** No unwind data covers a frame, or memory could not be read: what lies above `stackPointer` was not seen. */
  | 'lost'

export class Walker {
  /** By DWARF number; NaN: not known. Filled by the caller before each walk: rbx, rbp, rsp, r12 to r15 and the return address (rip). */
  readonly registers = new Float64Array(REGISTER_COUNT)
  /** After a walk: the stack pointer of the last frame seen, where a search of the rest has to begin. */
  stackPointer = 0
  private readonly modules: readonly FrameModule[]
  private last: FrameModule | undefined
  private readonly scratch = new Float64Array(REGISTER_COUNT)
  private readonly instructions = new Uint8Array(LONGEST_EPILOGUE)

  /** `modules` by ascending start, not overlapping. */
  constructor(modules: readonly FrameModule[]) {
    this.modules = modules
  }

  walk(memory: StackMemory, visit: FrameVisitor, maxDepth = 65_536): WalkEnd {
    const registers = this.registers
    let exact = true
    for (let depth = 0; depth < maxDepth; depth++) {
      const ip = registers[RETURN_ADDRESS] as number
      this.stackPointer = registers[RSP] as number
      if (ip === 0) return 'end'
      if (visit(ip, depth, exact)) return 'found'
      // A call may be the last instruction of its function: the return address then belongs to the next one.
      const lookup = exact ? ip : ip - 1
      const module = this.moduleAt(lookup)
      if (module === undefined) return 'lost'
      const { table } = module
      const row = table.rowAt(lookup - module.start)
      const kind = table.kinds[row]
      const before = registers[RSP] as number
      if (exact && module.windows !== undefined && this.windowsStep(module, module.windows, ip, memory)) {
        exact = false
        if ((registers[RSP] as number) <= before) return 'lost'
        continue
      }
      if (kind === FrameKind.end) return 'end'
      if (kind === FrameKind.none) return 'lost'
      if (kind === FrameKind.complex) {
        const complex = table.complex[table.operands[row] as number]
        if (complex === undefined) return 'lost'
        const returning = exact && !complex.signal && this.returnStep(ip, memory)
        if (!returning && !this.complexStep(complex.row, memory)) return 'lost'
        exact = complex.signal
      } else {
        const saved = table.savedSets[table.saved[row] as number] as Int32Array
        if (!this.restore(kind === FrameKind.rsp ? RSP : RBP, table.operands[row] as number, saved, memory)) return 'lost'
        exact = false
      }
      // A frame lies above the one that it calls, except where a signal handler runs on a stack of its own.
      if (!exact && (registers[RSP] as number) <= before) return 'lost'
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

  /** One frame that is a leaf or in its epilogue. false: it is neither. */
  private windowsStep(module: FrameModule, functions: WindowsFunctions, ip: number, memory: StackMemory): boolean {
    const rva = ip - module.start
    const stretch = functions.indexAt(rva)
    if (stretch < 0) return this.leafStep(memory)
    const length = memory.code(ip, this.instructions)
    const { primary } = functions.at(stretch)
    const leaves = (target: number): boolean => {
      const to = functions.indexAt(rva + target)
      return rva + target === primary || to < 0 || functions.at(to).primary !== primary
    }
    const epilogue = epilogueAt(this.instructions.subarray(0, length), leaves)
    return epilogue !== undefined && this.restore(epilogue.register, epilogue.offset, epilogue.saved, memory)
  }

  /**
   * One frame of code without a record. Not all of it is a leaf (mingw's ___chkstk_ms pushes two registers), so what is taken for a return
   * address has to be one.
   */
  private leafStep(memory: StackMemory): boolean {
    const address = memory.word(this.registers[RSP] as number)
    const before = this.instructions.subarray(0, LONGEST_CALL)
    const isReturn =
      address === 0 || (address > LONGEST_CALL && memory.code(address - LONGEST_CALL, before) === LONGEST_CALL && endsInCall(before))
    return isReturn && this.restore(RSP, 8, NOTHING_SAVED, memory)
  }

  /** One frame that is about to return. false: it is not. */
  private returnStep(ip: number, memory: StackMemory): boolean {
    const epilogue = returnAt(this.instructions.subarray(0, memory.code(ip, this.instructions)))
    return epilogue !== undefined && this.restore(epilogue.register, epilogue.offset, epilogue.saved, memory)
  }

  /** Takes a frame back whose CFA is `register` + `offset`, the return address right below it. */
  private restore(register: number, offset: number, saved: ArrayLike<number>, memory: StackMemory): boolean {
    const registers = this.registers
    const cfa = (registers[register] as number) + offset
    const next = memory.word(cfa - 8)
    if (!(next >= 0)) return false
    for (let i = 0; i < saved.length; i += 2) registers[saved[i] as number] = memory.word(cfa + (saved[i + 1] as number))
    registers[RETURN_ADDRESS] = next
    registers[RSP] = cfa
    return true
  }

  /** One frame by the general rules of DWARF. false: a rule could not be followed. */
  private complexStep(row: CfaRow, memory: StackMemory): boolean {
    try {
      return this.followRules(row, memory)
    } catch (error) {
      if (error instanceof HotpatchError) return false
      throw error
    }
  }

  /** Throws MALFORMED where an expression makes no sense. */
  private followRules({ cfa, registers: rules }: CfaRow, memory: StackMemory): boolean {
    const registers = this.registers
    const context = {
      register: (number: number): bigint | undefined => toBig(registers[number]),
      memory: (address: bigint, size: number): bigint | undefined => {
        const word = toBig(memory.word(Number(address)))
        return word === undefined ? undefined : BigInt.asUintN(size * 8, word)
      },
    }
    const cfaValue =
      cfa.kind === 'register' ? (registers[cfa.register] ?? Number.NaN) + cfa.offset : toNumber(evaluateExpression(cfa.expression, context))
    if (!(cfaValue > 0)) return false
    const next = this.scratch
    next.set(registers)
    next[RSP] = cfaValue
    for (const [register, rule] of rules) {
      if (register >= REGISTER_COUNT) continue
      next[register] = this.valueOf(rule, cfaValue, memory, context)
    }
    if (!((next[RETURN_ADDRESS] as number) >= 0) || rules.get(RETURN_ADDRESS) === undefined) return false
    registers.set(next)
    return true
  }

  private valueOf(rule: RegisterRule, cfa: number, memory: StackMemory, context: Parameters<typeof evaluateExpression>[1]): number {
    switch (rule.kind) {
      case 'undefined':
        return Number.NaN
      case 'offset':
        return memory.word(cfa + rule.offset)
      case 'val-offset':
        return cfa + rule.offset
      case 'register':
        return this.registers[rule.register] ?? Number.NaN
      case 'expression':
        return memory.word(toNumber(evaluateExpression(rule.expression, context, [BigInt(cfa)])))
      case 'val-expression':
        return toNumber(evaluateExpression(rule.expression, context, [BigInt(cfa)]))
    }
  }
}

const NOTHING_SAVED: readonly number[] = []
/** In bytes: `add rsp`, eight pops, a jump, generously. */
const LONGEST_EPILOGUE = 48

const toBig = (value: number | undefined): bigint | undefined =>
  value === undefined || !Number.isInteger(value) || value < 0 ? undefined : BigInt(value)
const toNumber = (value: bigint | undefined): number => (value === undefined ? Number.NaN : Number(value))
