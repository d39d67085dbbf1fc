/**
 * Where a switch leads whose table holds distances in words, which no relocation shows. gcc ends each in this way (aarch64_output_casesi; here the
 * table has 16 bits for each distance):
 *
 *     cmp  wI, #n
 *     b.hi default                      or b.ls to what follows
 *     adrp xT, table
 *     add  xT, xT, :lo12:table
 *     ldrh wV, [xT, wI, uxtw #1]
 *     adr  xB, base
 *     add  xV, xB, wV, sxth #2
 *     br   xV
 *
 * or, where the index is a byte, `and wI, wX, #255` for the comparison. A table is read only where the index is proven to lie in it: from the
 * comparison to the jump nothing else leads into the code, and nothing writes the registers.
 */
import type { Surroundings } from '../redirect.ts'
import { type Flow, INSTRUCTION_SIZE, mayWrite, type Placed } from './instructions.ts'

export interface JumpTable {
  /** The ADR of the place from which the distances count. */
  readonly adr: Placed
  /** Where the switch leads, from the function's entry. */
  readonly targets: readonly number[]
}

interface Width {
  /** LDRB, LDRH, LDR with [Xn, Wm, UXTW #n]. */
  readonly load: number
  /** ADD with SXTB, SXTH, SXTW #2. */
  readonly add: number
  readonly bytes: 1 | 2 | 4
}

const WIDTHS: readonly Width[] = [
  { load: 0x38604800, add: 0x8b208800, bytes: 1 },
  { load: 0x78605800, add: 0x8b20a800, bytes: 2 },
  { load: 0xb8605800, add: 0x8b20c800, bytes: 4 },
]
/** What is left of such an instruction without its three registers. */
const WITHOUT_REGISTERS = 0xffe0fc00

/** Conditions of B.cond, in its lowest bits. */
const [HIGHER, LOWER_OR_SAME] = [8, 9]
/** Of 256 values. */
const GREATEST_MASK = 7
/** From the comparison to the jump; gcc computes the address of a table right before it is used. */
const LONGEST_ROW = 24
const PAGE = 4096

const destination = (word: number): number => word & 31
const operand = (word: number): number => (word >>> 5) & 31
const secondOperand = (word: number): number => (word >>> 16) & 31
const immediate12 = (word: number): number => (word >>> 10) & 0xfff

/** CMP Wn, #imm12, not shifted. */
const isCompare = (word: number): boolean => (word & 0xffc0001f) >>> 0 === 0x7100001f

/**
 * The tables that can be read, of all the function's jumps through a register.
 * @param branchTargets as in RedirectSite
 */
export function jumpTables(instructions: readonly Placed[], around: Surroundings, branchTargets: readonly number[]): JumpTable[] {
  const jumps = instructions.filter(({ flow }) => flow === 'jump-indirect')
  if (jumps.length === 0) return []
  const direct = directEntries(instructions)
  const read = jumps.flatMap((jump) => readTable(jump, instructions, direct, around))
  const others = [...branchTargets, ...read.flatMap(({ targets }) => targets)]
  return read.filter(({ closed }) => !others.some((target) => closed.some(({ from, to }) => target >= from && target <= to)))
}

type Entries = ReadonlyMap<number, readonly Placed[]>

/** The branches and jumps to each offset. */
function directEntries(instructions: readonly Placed[]): Entries {
  const entries = new Map<number, Placed[]>()
  for (const one of instructions)
    if ((one.flow === 'jump' || one.flow === 'branch') && one.target !== undefined)
      entries.set(one.target, [...(entries.get(one.target) ?? []), one])
  return entries
}

/** What is executed right before the jump, the jump included. */
interface Row {
  readonly instructions: readonly Placed[]
  /** From this offset on the index is known to be `last` at most. */
  readonly bounded: number
  readonly last: number
  /** The branch that alone leads to the row's beginning. */
  readonly from?: Placed
}

/** Offsets, both included, to which nothing may lead but what was seen. */
interface Range {
  readonly from: number
  readonly to: number
}

interface ReadTable extends JumpTable {
  readonly closed: readonly Range[]
}

type Bound = Omit<Row, 'instructions'>

function readTable(jump: Placed, instructions: readonly Placed[], direct: Entries, around: Surroundings): ReadTable[] {
  const [load, adr, add] = instructions.slice(Math.max(jump.offset / INSTRUCTION_SIZE - 3, 0))
  if (load === undefined || adr?.form !== 'adr' || adr.target === undefined || add === undefined) return []
  const width = WIDTHS.find((one) => isLike(load.word, one.load) && isLike(add.word, one.add))
  const belong =
    operand(jump.word) === destination(add.word) &&
    operand(add.word) === destination(adr.word) &&
    secondOperand(add.word) === destination(load.word) &&
    destination(adr.word) !== destination(load.word)
  if (width === undefined || !belong) return []
  const row = rowBefore(jump, secondOperand(load.word), instructions, direct)
  if (row === undefined) return []
  const table = addressIn(row, load, around)
  const bytes = table === undefined ? undefined : around.read(table.at, (row.last + 1) * width.bytes)
  if (table === undefined || bytes === undefined) return []
  const base = adr.target
  const targets = valuesOf(bytes, width.bytes).map((value) => base + value * INSTRUCTION_SIZE)
  const end = instructions.length * INSTRUCTION_SIZE
  const closed = [{ from: Math.min(row.bounded, table.known), to: jump.offset }]
  if (row.from !== undefined) closed.push({ from: row.from.offset, to: row.from.offset })
  return targets.every((target) => target >= 0 && target < end) ? [{ adr, targets, closed }] : []
}

const isLike = (word: number, pattern: number): boolean => (word & WITHOUT_REGISTERS) >>> 0 === pattern

function valuesOf(bytes: Uint8Array, width: Width['bytes']): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const readers = { 1: (i: number) => view.getInt8(i), 2: (i: number) => view.getInt16(i, true), 4: (i: number) => view.getInt32(i, true) }
  return Array.from({ length: bytes.length / width }, (_, i) => readers[width](i * width))
}

/** Goes back from the jump as far as nothing else leads there, at least to the comparison of its index. */
function rowBefore(jump: Placed, index: number, instructions: readonly Placed[], direct: Entries): Row | undefined {
  const row: Placed[] = []
  let bound: Bound | undefined
  for (let i = jump.offset / INSTRUCTION_SIZE; i >= 0 && row.length < LONGEST_ROW; i--) {
    const [previous, one] = [instructions[i - 1], instructions[i] as Placed]
    if (one !== jump && one.flow !== 'next' && one.flow !== 'branch') break
    row.unshift(one)
    const leading = direct.get(one.offset)
    bound ??= leading === undefined ? boundHere(one, previous, index) : boundByBranch(one, previous, index, instructions, direct)
    if (leading !== undefined) break
  }
  return bound && { instructions: row, ...bound }
}

/** By `b.hi` right behind the comparison, or by a mask. */
function boundHere(one: Placed, previous: Placed | undefined, index: number): Bound | undefined {
  const last = isBranch(one, HIGHER) ? comparedWith(previous, index) : maskedTo(previous, index)
  return last === undefined ? undefined : { bounded: one.offset, last }
}

/** By `b.ls`, which alone leads to `one`. */
function boundByBranch(
  one: Placed,
  previous: Placed | undefined,
  index: number,
  instructions: readonly Placed[],
  direct: Entries,
): Bound | undefined {
  const [from, ...others] = direct.get(one.offset) ?? []
  if (from === undefined || others.length > 0 || previous === undefined || !ENDS.has(previous.flow)) return undefined
  if (!isBranch(from, LOWER_OR_SAME) || direct.has(from.offset)) return undefined
  const last = comparedWith(instructions[from.offset / INSTRUCTION_SIZE - 1], index)
  return last === undefined ? undefined : { bounded: one.offset, last, from }
}

const isBranch = ({ form, word }: Placed, condition: number): boolean => form === 'b.cond' && (word & 31) === condition

/** Nothing runs from these into what is behind them. */
const ENDS: ReadonlySet<Flow> = new Set(['jump', 'jump-indirect', 'return', 'trap'])

/** AND Wd, Wn, #mask where the mask is the lowest bits, all 32 aside: N and immr are 0, imms is their number less 1. */
function maskedTo(one: Placed | undefined, index: number): number | undefined {
  const word = one?.word ?? 0
  const imms = (word >>> 10) & 63
  return (word & 0xffff0000) >>> 0 === 0x12000000 && imms <= GREATEST_MASK && destination(word) === index ? 2 ** (imms + 1) - 1 : undefined
}

const comparedWith = (one: Placed | undefined, index: number): number | undefined =>
  one !== undefined && isCompare(one.word) && operand(one.word) === index ? immediate12(one.word) : undefined

/** Where the table is, from the function's entry, and from which offset on that is known; undefined where a register may have been written by something else. */
function addressIn({ instructions, bounded }: Row, load: Placed, { inPage }: Surroundings): { at: number; known: number } | undefined {
  const before = instructions.slice(0, instructions.indexOf(load))
  const [table, index] = [operand(load.word), secondOperand(load.word)]
  const add = before.findLast(({ form, word }) => form === 'add' && destination(word) === table)
  if (add === undefined) return undefined
  const page = operand(add.word)
  const adrp = before.findLast(({ form, word, offset }) => offset < add.offset && form === 'adrp' && destination(word) === page)
  if (adrp?.distance === undefined) return undefined
  const isWritten = (register: number, behind: number, until: number): boolean =>
    before.some(({ word, offset }) => offset > behind && offset < until && mayWrite(word, register))
  const end = load.offset
  if (isWritten(page, adrp.offset, add.offset) || isWritten(table, add.offset, end) || isWritten(index, bounded - 1, end)) return undefined
  const ownPage = Math.floor((inPage + adrp.offset) / PAGE) * PAGE - inPage
  return { at: ownPage + adrp.distance + immediate12(add.word), known: adrp.offset + INSTRUCTION_SIZE }
}
