/**
 * Frame tables: unwind data of a module, compiled before anything is stopped into arrays that a stack can be walked with in the
 * stop. The idea is ORC's: nearly every row of real unwind data is "CFA = rsp or rbp + constant, return address at CFA - 8, a few
 * registers saved at CFA - constant"; what is not (PLT stubs, signal frames, realigned stacks) keeps its DWARF row.
 *
 * Registers have DWARF's numbers for x86-64 (System V ABI, figure 3.36): 0 rax, 1 rdx, 2 rcx, 3 rbx, 4 rsi, 5 rdi, 6 rbp, 7 rsp,
 * 8 to 15 r8 to r15, 16 the return address.
 */
import type { CfaRow } from '../../binary/dwarf/cfa.ts'
import type { FrameFunction } from '../../binary/dwarf/frames.ts'
import { RowSearch } from './row-search.ts'

export const RBP = 6
export const RSP = 7
export const RETURN_ADDRESS = 16
export const REGISTER_COUNT = 17

/** What a row of a frame table says to do. */
export const FrameKind = {
  /** No unwind data covers the place. */
  none: 0,
  /** CFA = rsp + offset. */
  rsp: 1,
  /** CFA = rbp + offset. */
  rbp: 2,
  /** The caller of this code is nobody: the stack ends here. */
  end: 3,
  /** Anything else: see `complex`. */
  complex: 4,
} as const

/** Registers that a row restores, as pairs: DWARF number, offset from the CFA. */
export type SavedRegisters = Int32Array

export interface FrameTable {
  /** The index of the row that holds `rva`. Ask for it first: a table that is compiled by need has the row in its columns only then. */
  rowAt(rva: number): number
  /** FrameKind of each row. */
  readonly kinds: Uint8Array
  /** CFA offset of rsp and rbp rows; index into `complex` of complex ones. */
  readonly operands: Int32Array
  /** Index into `savedSets` of each row. */
  readonly saved: Uint16Array
  readonly savedSets: readonly SavedRegisters[]
  readonly complex: readonly ComplexRow[]
}

/** The rows of a table under construction, as they are. */
type Columns = Omit<FrameTable, 'rowAt'> & {
  /** RVAs where a row begins, ascending. Row i holds up to starts[i + 1]. */
  readonly starts: Uint32Array
}

/** A table that is finished. */
export class WholeTable implements FrameTable {
  readonly starts: Uint32Array
  readonly kinds: Uint8Array
  readonly operands: Int32Array
  readonly saved: Uint16Array
  readonly savedSets: readonly SavedRegisters[]
  readonly complex: readonly ComplexRow[]
  readonly #search: RowSearch

  constructor({ starts, kinds, operands, saved, savedSets, complex }: Columns) {
    this.starts = starts
    this.kinds = kinds
    this.operands = operands
    this.saved = saved
    this.savedSets = savedSets
    this.complex = complex
    this.#search = new RowSearch(starts)
  }

  rowAt(rva: number): number {
    return this.#search.indexAt(rva)
  }
}

export interface ComplexRow {
  readonly row: CfaRow
  readonly signal: boolean
}

/** What a processor's rows look like that need no DWARF rules. */
export interface RowShape {
  /** Registers with smaller numbers are restored from where a row saves them. */
  readonly tracked: number
  /** FrameKind and CFA offset of a row; undefined: it must be kept whole. */
  readonly simple: (row: CfaRow) => { readonly kind: number; readonly offset: number } | undefined
}

/** Compiles `functions`, which need not be sorted; where two overlap, the one that begins later wins from there on. */
export function frameTable(functions: Iterable<FrameFunction>, shape = X64_ROWS): WholeTable {
  const sorted = [...functions].filter(({ size }) => size > 0).sort((a, b) => a.start - b.start)
  const table = new TableBuilder(shape)
  let covered = 0
  sorted.forEach((described, index) => {
    const end = Math.min(described.start + described.size, sorted[index + 1]?.start ?? Number.POSITIVE_INFINITY)
    if (described.start > covered) table.append(covered, FrameKind.none, 0, 0)
    table.appendRows(described, end)
    covered = end
  })
  table.append(covered, FrameKind.none, 0, 0)
  return table.finish()
}

/** For code that moves nothing anywhere: the return address is on top of the stack. */
export function leafTable(): WholeTable {
  const table = new TableBuilder()
  table.append(0, FrameKind.rsp, 8, 0)
  return table.finish()
}

/** The most that an element of FrameTable.saved can say. */
const MAX_SAVED_SETS = 0xffff
const FIRST_CAPACITY = 1024

/** A frame table under construction. */
export class TableBuilder {
  count = 0
  #starts = new Uint32Array(FIRST_CAPACITY)
  #kinds = new Uint8Array(FIRST_CAPACITY)
  #operands = new Int32Array(FIRST_CAPACITY)
  #saved = new Uint16Array(FIRST_CAPACITY)
  readonly #complex: ComplexRow[] = []
  readonly #sets: SavedRegisters[] = [new Int32Array(0)]
  readonly #setsByText = new Map<string, number>([['', 0]])
  /** What became of a set when a register was saved in it: so each is made once. */
  readonly #transitions = new Map<number, number>()
  /** Rows of one function share their maps. */
  readonly #setsByRules = new WeakMap<CfaRow['registers'], number>()
  readonly #shape: RowShape

  constructor(shape = X64_ROWS) {
    this.#shape = shape
  }

  /** A row that holds from `start` on; one that begins at the same place is replaced. */
  append(start: number, kind: number, operand: number, set: number): void {
    if (this.count > 0 && this.#starts[this.count - 1] === start) this.count--
    if (this.count === this.#starts.length) this.#grow()
    const at = this.count++
    this.#starts[at] = start
    this.#kinds[at] = kind
    this.#operands[at] = operand
    this.#saved[at] = set
  }

  /** The rows of a function that begin before `end`. */
  appendRows({ start, rows, signal }: FrameFunction, end: number): void {
    for (const row of rows) {
      if (start + row.start >= end) break
      const simple = signal ? undefined : this.#shape.simple(row)
      const set = simple === undefined ? -1 : this.#setOf(row.registers)
      if (simple !== undefined && set >= 0) this.append(start + row.start, simple.kind, simple.offset, set)
      else {
        this.append(start + row.start, FrameKind.complex, this.#complex.length, 0)
        this.#complex.push({ row, signal })
      }
    }
  }

  /** Takes rows back, down to `count`. */
  truncate(count: number): void {
    this.count = Math.min(this.count, count)
  }

  /** The number of the set that is `set` with `register` saved at `offset` from the CFA; -1: there are too many sets. */
  saved(set: number, register: number, offset: number): number {
    if (set < 0) return -1
    const key = (set * 32 + register) * 2 ** 26 + offset + 2 ** 25
    let next = Math.abs(offset) < 2 ** 25 ? this.#transitions.get(key) : -1
    if (next === undefined) {
      next = this.#numberOf(changed(this.#sets[set] as SavedRegisters, register, offset))
      this.#transitions.set(key, next)
    }
    return next
  }

  /** The number of the set that is `set` with `register` as it is in `initial`. */
  restored(set: number, register: number, initial: number): number {
    if (set < 0 || initial < 0) return -1
    const before = this.#sets[initial] as SavedRegisters
    for (let i = 0; i < before.length; i += 2) if (before[i] === register) return this.saved(set, register, before[i + 1] as number)
    const key = -1 - (set * 32 + register)
    let next = this.#transitions.get(key)
    if (next === undefined) {
      next = this.#numberOf(changed(this.#sets[set] as SavedRegisters, register, undefined))
      this.#transitions.set(key, next)
    }
    return next
  }

  /** The rows so far; those to come may be in other arrays. */
  get columns(): Columns {
    return {
      starts: this.#starts,
      kinds: this.#kinds,
      operands: this.#operands,
      saved: this.#saved,
      savedSets: this.#sets,
      complex: this.#complex,
    }
  }

  finish(): WholeTable {
    const { count, columns } = this
    const { starts, kinds, operands, saved } = columns
    return new WholeTable({
      ...columns,
      starts: starts.slice(0, count),
      kinds: kinds.slice(0, count),
      operands: operands.slice(0, count),
      saved: saved.slice(0, count),
    })
  }

  #setOf(rules: CfaRow['registers']): number {
    let index = this.#setsByRules.get(rules)
    if (index === undefined) {
      index = 0
      for (const [register, rule] of rules)
        if (register < this.#shape.tracked && rule.kind === 'offset') index = this.saved(index, register, rule.offset)
      this.#setsByRules.set(rules, index)
    }
    return index
  }

  #numberOf(set: SavedRegisters): number {
    const text = set.join()
    const known = this.#setsByText.get(text)
    if (known !== undefined) return known
    if (this.#sets.length > MAX_SAVED_SETS) return -1
    this.#setsByText.set(text, this.#sets.length)
    this.#sets.push(set)
    return this.#sets.length - 1
  }

  #grow(): void {
    const capacity = this.#starts.length * 2
    const [starts, kinds, operands, saved] = [this.#starts, this.#kinds, this.#operands, this.#saved]
    this.#starts = new Uint32Array(capacity)
    this.#kinds = new Uint8Array(capacity)
    this.#operands = new Int32Array(capacity)
    this.#saved = new Uint16Array(capacity)
    this.#starts.set(starts)
    this.#kinds.set(kinds)
    this.#operands.set(operands)
    this.#saved.set(saved)
  }
}

/** The set with one register's place changed, or without it; by ascending register. */
function changed(set: SavedRegisters, register: number, offset: number | undefined): SavedRegisters {
  let at = 0
  while (at < set.length && (set[at] as number) < register) at += 2
  const behind = set[at] === register ? at + 2 : at
  const own = offset === undefined ? 0 : 2
  const result = new Int32Array(at + own + set.length - behind)
  result.set(set.subarray(0, at))
  if (offset !== undefined) {
    result[at] = register
    result[at + 1] = offset
  }
  result.set(set.subarray(behind), at + own)
  return result
}

function simpleRow({ cfa, registers }: CfaRow): { kind: number; offset: number } | undefined {
  const returnAddress = registers.get(RETURN_ADDRESS)
  if (returnAddress?.kind === 'undefined') return { kind: FrameKind.end, offset: 0 }
  if (returnAddress?.kind !== 'offset' || returnAddress.offset !== -8 || cfa.kind !== 'register') return undefined
  if (cfa.register !== RSP && cfa.register !== RBP) return undefined
  for (const [register, rule] of registers) if (register < RETURN_ADDRESS && rule.kind !== 'offset') return undefined
  return { kind: cfa.register === RSP ? FrameKind.rsp : FrameKind.rbp, offset: cfa.offset }
}

export const X64_ROWS: RowShape = { tracked: RETURN_ADDRESS, simple: simpleRow }
