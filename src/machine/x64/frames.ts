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
  /** RVAs where a row begins, ascending. Row i holds up to starts[i + 1]. */
  readonly starts: Uint32Array
  /** FrameKind of each row. */
  readonly kinds: Uint8Array
  /** CFA offset of rsp and rbp rows; index into `complex` of complex ones. */
  readonly operands: Int32Array
  /** Index into `savedSets` of each row. */
  readonly saved: Uint16Array
  readonly savedSets: readonly SavedRegisters[]
  readonly complex: readonly ComplexRow[]
}

export interface ComplexRow {
  readonly row: CfaRow
  readonly signal: boolean
}

const MAX_SAVED_SETS = 0xffff

/** Compiles `functions`, which need not be sorted; where two overlap, the one that begins later wins from there on. */
export function frameTable(functions: Iterable<FrameFunction>): FrameTable {
  const sorted = [...functions].filter(({ size }) => size > 0).sort((a, b) => a.start - b.start)
  const capacity = sorted.reduce((sum, { rows }) => sum + rows.length + 1, 1)
  const starts = new Uint32Array(capacity)
  const kinds = new Uint8Array(capacity)
  const operands = new Int32Array(capacity)
  const saved = new Uint16Array(capacity)
  const complex: ComplexRow[] = []
  const sets = savedSets()
  let count = 0

  const append = (start: number, kind: number, operand: number, set: number): void => {
    if (count > 0 && starts[count - 1] === start) count--
    starts[count] = start
    kinds[count] = kind
    operands[count] = operand
    saved[count] = set
    count++
  }

  append(0, FrameKind.none, 0, 0)
  let covered = 0
  sorted.forEach(({ start, size, rows, signal }, index) => {
    const end = Math.min(start + size, sorted[index + 1]?.start ?? Number.POSITIVE_INFINITY)
    if (start > covered) append(covered, FrameKind.none, 0, 0)
    for (const row of rows) {
      if (start + row.start >= end) break
      const simple = signal ? undefined : simpleRow(row)
      if (simple === undefined) {
        append(start + row.start, FrameKind.complex, complex.length, 0)
        complex.push({ row, signal })
      } else append(start + row.start, simple.kind, simple.offset, sets.indexOf(row))
    }
    covered = end
  })
  append(covered, FrameKind.none, 0, 0)

  return {
    starts: starts.subarray(0, count),
    kinds: kinds.subarray(0, count),
    operands: operands.subarray(0, count),
    saved: saved.subarray(0, count),
    savedSets: sets.all,
    complex,
  }
}

function simpleRow({ cfa, registers }: CfaRow): { kind: number; offset: number } | undefined {
  const returnAddress = registers.get(RETURN_ADDRESS)
  if (returnAddress?.kind === 'undefined') return { kind: FrameKind.end, offset: 0 }
  if (returnAddress?.kind !== 'offset' || returnAddress.offset !== -8 || cfa.kind !== 'register') return undefined
  if (cfa.register !== RSP && cfa.register !== RBP) return undefined
  for (const [register, rule] of registers) if (register < RETURN_ADDRESS && rule.kind !== 'offset') return undefined
  return { kind: cfa.register === RSP ? FrameKind.rsp : FrameKind.rbp, offset: cfa.offset }
}

/** Rows share few combinations of saved registers: each is stored once. */
function savedSets() {
  const all: SavedRegisters[] = [new Int32Array(0)]
  const known = new Map<string, number>([['', 0]])
  // Rows of one function share their maps.
  const seen = new WeakMap<CfaRow['registers'], number>()
  return {
    all,
    indexOf({ registers }: CfaRow): number {
      let index = seen.get(registers)
      if (index === undefined) {
        index = this.find(registers)
        seen.set(registers, index)
      }
      return index
    },
    find(registers: CfaRow['registers']): number {
      let key = ''
      for (const [register, rule] of registers)
        if (register < RETURN_ADDRESS && rule.kind === 'offset') key += `${register},${rule.offset},`
      const index = known.get(key)
      if (index !== undefined) return index
      if (all.length > MAX_SAVED_SETS) return 0
      known.set(key, all.length)
      all.push(Int32Array.from(key.split(',').slice(0, -1), Number))
      return all.length - 1
    },
  }
}

/** The index of the row that holds `rva`. */
export function rowAt({ starts }: FrameTable, rva: number): number {
  let low = 0
  let high = starts.length - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if ((starts[middle] as number) <= rva) low = middle
    else high = middle - 1
  }
  return low
}
