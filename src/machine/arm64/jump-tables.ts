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
 * or, where the index is a byte, `and wI, wX, #255` for the comparison. clang compresses its tables likewise (AArch64CompressJumpTables) and ends in
 *
 *     adr  xB, base
 *     ldrb wV, [xT, xI]                 or ldrh wV, [xT, xI, lsl #1]
 *     add  xB, xB, xV, lsl #2
 *     br   xB
 *
 * whose distances have no sign and whose index must have no upper half. The index may be a copy of what was compared, and the table's address may have been
 * computed before a loop. A table is read only where the index is proven to lie in it: from the comparison to the jump nothing else leads into the code,
 * and nothing writes the registers.
 */
import type { Surroundings } from '../redirect.ts'
import { type Flow, INSTRUCTION_SIZE, mayWrite, type Placed } from './instructions.ts'
import { pageIn } from './linking.ts'

export interface JumpTable {
  /** The ADR of the place from which the distances count. */
  readonly adr: Placed
  /** Where the switch leads, from the function's entry. */
  readonly targets: readonly number[]
}

interface Width {
  readonly load: number
  readonly add: number
  readonly bytes: 1 | 2 | 4
  readonly values: 'signed' | 'unsigned'
  /** Whether the whole of the index register counts. */
  readonly wholeIndex: boolean
}

const gcc = { values: 'signed', wholeIndex: false } as const
const clang = { values: 'unsigned', wholeIndex: true } as const

const WIDTHS: readonly Width[] = [
  // LDRB, LDRH, LDR with [Xn, Wm, UXTW #n], ADD with SXTB, SXTH, SXTW #2.
  { load: 0x38604800, add: 0x8b208800, bytes: 1, ...gcc },
  { load: 0x78605800, add: 0x8b20a800, bytes: 2, ...gcc },
  { load: 0xb8605800, add: 0x8b20c800, bytes: 4, ...gcc },
  // LDRB, LDRH with [Xn, Xm, LSL #n], ADD with LSL #2.
  { load: 0x38606800, add: 0x8b000800, bytes: 1, ...clang },
  { load: 0x78607800, add: 0x8b000800, bytes: 2, ...clang },
]
/** What is left of such an instruction without its three registers. */
const WITHOUT_REGISTERS = 0xffe0fc00

/** Conditions of B.cond, in its lowest bits. */
const [HIGHER, LOWER_OR_SAME] = [8, 9]
/** Of 256 values. */
const GREATEST_MASK = 7
/** From the comparison to the jump; gcc computes the address of a table right before it is used. */
const LONGEST_ROW = 24
const STACK_POINTER = 31

const destination = (word: number): number => word & 31
const operand = (word: number): number => (word >>> 5) & 31
const secondOperand = (word: number): number => (word >>> 16) & 31
const immediate12 = (word: number): number => (word >>> 10) & 0xfff

/** CMP Wn or Xn, #imm12, not shifted. */
const isCompare = (word: number): boolean => (word & 0x7fc0001f) >>> 0 === 0x7100001f
/** MOV Wd, Wm or Xd, Xm. */
const isCopy = (word: number): boolean => (word & 0x7fe0ffe0) >>> 0 === 0x2a0003e0
const isWide = (word: number): boolean => word >>> 31 === 1

/**
 * The tables that can be read, of all the function's jumps through a register.
 * @param branchTargets as in RedirectSite
 */
export function jumpTables(instructions: readonly Placed[], around: Surroundings, branchTargets: readonly number[]): JumpTable[] {
  const jumps = instructions.filter(({ flow }) => flow === 'jump-indirect')
  if (jumps.length === 0) return []
  const code: Code = { instructions, direct: directEntries(instructions), isClosed: branchTargets.length === 0 }
  const read = jumps.flatMap((jump) => readTable(jump, code, around))
  const others = [...branchTargets, ...read.flatMap(({ targets }) => targets)]
  return read.filter(({ closed }) => !others.some((target) => closed.some(({ from, to }) => target >= from && target <= to)))
}

type Entries = ReadonlyMap<number, readonly Placed[]>

interface Code {
  readonly instructions: readonly Placed[]
  readonly direct: Entries
  /** Nothing leads into it from elsewhere, from the function's split-off parts among others. */
  readonly isClosed: boolean
}

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
  /** The branch that alone leads to the row's beginning, and from where on nothing may lead to it. */
  readonly from?: Placed
  readonly compared?: number
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

function readTable(jump: Placed, code: Code, around: Surroundings): ReadTable[] {
  const { instructions } = code
  const [one, other, add] = instructions.slice(Math.max(jump.offset / INSTRUCTION_SIZE - 3, 0))
  if (one === undefined || other === undefined || add === undefined) return []
  const [adr, load] = one.form === 'adr' ? [one, other] : [other, one]
  if (adr.form !== 'adr' || adr.target === undefined) return []
  const width = WIDTHS.find((each) => isLike(load.word, each.load) && isLike(add.word, each.add))
  const belong =
    operand(jump.word) === destination(add.word) &&
    operand(add.word) === destination(adr.word) &&
    secondOperand(add.word) === destination(load.word) &&
    destination(adr.word) !== destination(load.word)
  if (width === undefined || !belong) return []
  const row = rowBefore(jump, { load, wholeIndex: width.wholeIndex }, code)
  if (row === undefined) return []
  const table = addressIn(row.instructions, load, around) ?? addressBefore(operand(load.word), code, around)
  const bytes = table === undefined ? undefined : around.read(table.at, (row.last + 1) * width.bytes)
  if (table === undefined || bytes === undefined) return []
  const base = adr.target
  const targets = valuesOf(bytes, width).map((value) => base + value * INSTRUCTION_SIZE)
  const end = instructions.length * INSTRUCTION_SIZE
  const closed = [{ from: row.bounded, to: jump.offset }, table.closed]
  if (row.from !== undefined) closed.push({ from: row.compared ?? row.from.offset, to: row.from.offset })
  return targets.every((target) => target >= 0 && target < end) ? [{ adr, targets, closed }] : []
}

const isLike = (word: number, pattern: number): boolean => (word & WITHOUT_REGISTERS) >>> 0 === pattern

function valuesOf(bytes: Uint8Array, { bytes: width, values }: Width): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const readers = {
    signed: { 1: (i: number) => view.getInt8(i), 2: (i: number) => view.getInt16(i, true), 4: (i: number) => view.getInt32(i, true) },
    unsigned: { 1: (i: number) => view.getUint8(i), 2: (i: number) => view.getUint16(i, true), 4: (i: number) => view.getUint32(i, true) },
  }
  return Array.from({ length: bytes.length / width }, (_, i) => readers[values][width](i * width))
}

interface Indexed {
  readonly load: Placed
  readonly wholeIndex: boolean
}

/** The register in which the index is before an instruction, going back from the load. */
interface Held {
  readonly register: number | undefined
  /** Whether the index of the load is known to have no upper half, whatever this register has. */
  readonly isShort: boolean
}

/** Goes back from the jump as far as nothing else leads there, at least to the comparison of its index. */
function rowBefore(jump: Placed, { load, wholeIndex }: Indexed, code: Code): Row | undefined {
  const { instructions, direct } = code
  const row: Placed[] = []
  let held: Held = { register: secondOperand(load.word), isShort: !wholeIndex }
  let bound: Bound | undefined
  for (let i = jump.offset / INSTRUCTION_SIZE; i >= 0 && row.length < LONGEST_ROW; i--) {
    const [previous, one] = [instructions[i - 1], instructions[i] as Placed]
    if (one !== jump && one.flow !== 'next' && one.flow !== 'branch') break
    row.unshift(one)
    if (one.offset < load.offset) held = before(one, held)
    const leading = direct.get(one.offset)
    if (one.offset <= load.offset && held.register !== undefined)
      bound ??= leading === undefined ? boundHere(one, previous, held, code) : boundByBranch(one, previous, held, code)
    if (leading !== undefined) break
  }
  return bound && { instructions: row, ...bound }
}

/** Where the index is before `one`, if it is in a register behind it. */
function before(one: Placed, held: Held): Held {
  const { register, isShort } = held
  if (register === undefined || !mayWrite(one.word, register)) return held
  if (!isCopy(one.word) || destination(one.word) !== register) return { register: undefined, isShort }
  return { register: secondOperand(one.word), isShort: isShort || !isWide(one.word) }
}

/** By `b.hi` right behind the comparison, or by a mask. */
function boundHere(one: Placed, previous: Placed | undefined, held: Held, code: Code): Bound | undefined {
  if (!isBranch(one, HIGHER)) {
    const last = maskedTo(previous, held)
    return last === undefined ? undefined : { bounded: one.offset, last }
  }
  const compared = comparedAt(previous, held, code)
  return compared && { bounded: compared.since ?? one.offset, last: compared.last }
}

/** By `b.ls`, which alone leads to `one`. */
function boundByBranch(one: Placed, previous: Placed | undefined, held: Held, code: Code): Bound | undefined {
  const { instructions, direct } = code
  const [from, ...others] = direct.get(one.offset) ?? []
  if (from === undefined || others.length > 0 || previous === undefined || !ENDS.has(previous.flow)) return undefined
  if (!isBranch(from, LOWER_OR_SAME) || direct.has(from.offset)) return undefined
  const compared = comparedAt(instructions[from.offset / INSTRUCTION_SIZE - 1], held, code)
  return compared && { bounded: one.offset, last: compared.last, from, compared: compared.since ?? from.offset }
}

const isBranch = ({ form, word }: Placed, condition: number): boolean => form === 'b.cond' && (word & 31) === condition

/** Nothing runs from these into what is behind them. */
const ENDS: ReadonlySet<Flow> = new Set(['jump', 'jump-indirect', 'return', 'trap'])

/** AND Wd, Wn, #mask where the mask is the lowest bits, all 32 aside: N and immr are 0, imms is their number less 1. */
function maskedTo(one: Placed | undefined, { register }: Held): number | undefined {
  const word = one?.word ?? 0
  const imms = (word >>> 10) & 63
  const isMask = (word & 0xffff0000) >>> 0 === 0x12000000 && imms <= GREATEST_MASK
  return isMask && destination(word) === register ? 2 ** (imms + 1) - 1 : undefined
}

interface Compared {
  readonly last: number
  /** Nothing may lead to where this is or what follows, up to the branch: what was compared is a copy, or known from there to have no upper half. */
  readonly since?: number
}

/** The comparison of the index itself, of the whole register where its upper half counts. */
function comparedWith(one: Placed | undefined, { register, isShort }: Held): Compared | undefined {
  if (one === undefined || !isCompare(one.word) || operand(one.word) !== register) return undefined
  return isShort || isWide(one.word) ? { last: immediate12(one.word) } : undefined
}

/** The same, and what the instructions in front tell, as far as nothing else leads there: a copy of what is compared, or that a register has no upper half. */
function comparedAt(compare: Placed | undefined, held: Held, { instructions, direct }: Code): Compared | undefined {
  const compared = comparedWith(compare, held)
  if (compared !== undefined || compare === undefined || !isCompare(compare.word) || direct.has(compare.offset)) return compared
  const [last, other, index] = [immediate12(compare.word), operand(compare.word), held.register as number]
  for (let i = compare.offset / INSTRUCTION_SIZE - 1, steps = 0; i >= 0 && steps < LONGEST_ROW; i--, steps++) {
    const one = instructions[i] as Placed
    if (one.flow !== 'next' && one.flow !== 'branch') return undefined
    const since = one.offset + INSTRUCTION_SIZE
    if (other === index) {
      if (mayWrite(one.word, index)) return clearsUpperHalf(one.word) && destination(one.word) === index ? { last, since } : undefined
    } else if (isCopy(one.word) && isPair(one.word, index, other)) {
      const isShort = isWide(one.word) ? isWide(compare.word) : destination(one.word) === index
      return held.isShort || isShort ? { last, since } : undefined
    } else if (mayWrite(one.word, index) || mayWrite(one.word, other)) return undefined
    if (direct.has(one.offset)) return undefined
  }
  return undefined
}

const isPair = (word: number, a: number, b: number): boolean =>
  (destination(word) === a && secondOperand(word) === b) || (destination(word) === b && secondOperand(word) === a)

/** ADD, SUB and logical operations on 32 bits, and loads that fill up with zeros. */
const clearsUpperHalf = (word: number): boolean =>
  (word & 0x9f800000) >>> 0 === 0x11000000 ||
  (word & 0x9f800000) >>> 0 === 0x12000000 ||
  (word & 0x9f000000) >>> 0 === 0x0a000000 ||
  [0x39400000, 0x79400000, 0xb9400000].includes((word & 0xffc00000) >>> 0)

interface Address {
  /** From the function's entry. */
  readonly at: number
  readonly closed: Range
}

/** Where the table is, if that is computed right before; undefined where a register may have been written by something else. */
function addressIn(row: readonly Placed[], load: Placed, around: Surroundings): Address | undefined {
  const table = operand(load.word)
  const add = lastWriter(table, load, row)
  return add && addressFrom(add, lastWriter(operand(add.word), add, row), around, load)
}

const lastWriter = (register: number, before: Placed, row: readonly Placed[]): Placed | undefined =>
  row.findLast(({ word, offset }) => offset < before.offset && mayWrite(word, register))

/** By `adrp` and `add`, if they are these. */
function addressFrom(add: Placed, adrp: Placed | undefined, { inPage }: Surroundings, until: Placed): Address | undefined {
  const page = adrp && pageIn(inPage + adrp.offset, adrp.word)
  if (adrp === undefined || page === undefined || add.form !== 'add' || !isWide(add.word)) return undefined
  return { at: page + immediate12(add.word) - inPage, closed: { from: adrp.offset + INSTRUCTION_SIZE, to: until.offset } }
}

/**
 * Registers in which a function is given nothing: what is in them has been put there by the function itself. Calls keep x19 to x28; of the others nobody
 * uses what a call has left.
 */
const isOwn = (register: number): boolean => (register >= 9 && register <= 15) || (register >= 19 && register <= 28)

/** Where the table is, if a register is given that address at one place and nothing else anywhere, what the caller had in it aside. */
function addressBefore(register: number, { instructions, direct, isClosed }: Code, around: Surroundings): Address | undefined {
  if (!isOwn(register) || !isClosed) return undefined
  const writers = instructions.filter(({ flow, word }) => flow === 'next' && mayWrite(word, register))
  const [add, ...more] = writers.filter(({ form, word }) => form === 'add' && destination(word) === register)
  if (add === undefined || more.length > 0) return undefined
  const adrp = pageBefore(add, instructions, direct)
  const others = writers.filter((one) => one !== add && one !== adrp && !isRestored(one, instructions))
  return others.length > 0 ? undefined : addressFrom(add, adrp, around, add)
}

/** What an ADD adds to, as far as nothing leads between. */
function pageBefore(add: Placed, instructions: readonly Placed[], direct: Entries): Placed | undefined {
  const page = operand(add.word)
  for (let i = add.offset / INSTRUCTION_SIZE; i > 0; i--) {
    const [previous, one] = [instructions[i - 1] as Placed, instructions[i] as Placed]
    if (direct.has(one.offset) || (previous.flow !== 'next' && previous.flow !== 'branch')) return undefined
    if (mayWrite(previous.word, page)) return previous
  }
  return undefined
}

/** LDR and LDP of the stack, behind which nothing comes but the way out. */
function isRestored(one: Placed, instructions: readonly Placed[]): boolean {
  if (operand(one.word) !== STACK_POINTER || (one.word & 0x0a000000) !== 0x08000000) return false
  const last = instructions.slice(one.offset / INSTRUCTION_SIZE + 1).find(({ flow }) => flow !== 'next')
  const leaves = last?.target === undefined || last.target < 0 || last.target >= instructions.length * INSTRUCTION_SIZE
  return last !== undefined && (last.flow === 'return' || (last.flow === 'jump' && leaves))
}
