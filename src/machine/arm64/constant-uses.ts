/**
 * Where ARM64 code computes with a number, and what is called next: CodeReading.constantUses. A number stands in a wide move (and may get its upper
 * half from the MOVK behind it), in the immediate of an addition, subtraction or comparison, or is what a load or store adds to its register.
 * Up to 16 bits that logical instructions hold are not looked at, a moved mask aside.
 */
import type { CodeRange, ConstantUse } from '../architecture.ts'
import { widelyMoved } from './constants.ts'
import { INSTRUCTION_SIZE, mayName, mayWrite, type Placed, placedIn } from './instructions.ts'

/** How many instructions lie at most between an argument and its call. */
const NEAR = 24
/** Registers with arguments, of which a call leaves nothing. */
const ARGUMENTS = 8
const [SECOND, ZERO_OR_STACK] = [1, 31]
/** To the slot of a variable, to the variable, to what it points to. */
const MOST_LOADS = 2

/** What comes of it is another number than `value` where an instruction adds it. */
export function constantUses(code: Uint8Array, value: number): ConstantUse[] {
  const instructions = placedIn(code)
  const moved = widelyMoved(code)
  const places = instructions.filter(({ word, offset }) => moved.get(offset) === BigInt(value) || isAdded(word, value))
  if (places.length === 0) return []
  // What leads out of the function has zero for a distance in an object.
  const entered = new Set(instructions.flatMap(({ flow, target, offset }) => (WITHIN.has(flow) && target !== offset ? (target ?? []) : [])))
  return places.map((place) => useAt(place, { instructions, entered, moved }))
}

const WITHIN: ReadonlySet<string> = new Set(['branch', 'jump'])

interface Code {
  readonly instructions: readonly Placed[]
  /** Offsets that branches lead to. */
  readonly entered: ReadonlySet<number>
  readonly moved: ReadonlyMap<number, bigint>
}

function useAt(place: Placed, { instructions, entered, moved }: Code): ConstantUse {
  const at = place.offset / INSTRUCTION_SIZE
  const call = instructions.slice(at + 1, at + 1 + NEAR).find(({ flow }) => flow !== 'next')
  if (call === undefined || !CALLS.has(call.flow)) return { namedBy: [], zeroSecond: false, isItsArgument: false }
  const end = call.offset / INSTRUCTION_SIZE
  const row = rowBefore(end, instructions, entered)
  const second = row.findLast(({ word }) => writes(word, SECOND))
  return {
    namedBy: namesOf(call, row),
    zeroSecond: second !== undefined && (moved.get(second.offset) === 0n || second.word === ZEROED_BY_REGISTER),
    isItsArgument: row.includes(place) && staysArgument(place, row, moved) && !hasSwitch(instructions, call),
  }
}

/** A tail call is a jump. */
const CALLS: ReadonlySet<string> = new Set(['call', 'call-indirect', 'jump', 'jump-indirect'])
/** MOV w1, wzr. */
const ZEROED_BY_REGISTER = 0x2a1f03e1

/** What runs right before the instruction at `end`, as far as nothing leads into the middle. */
function rowBefore(end: number, instructions: readonly Placed[], entered: ReadonlySet<number>): Placed[] {
  let from = end
  while (from > 0 && end - from < NEAR && !entered.has(from * INSTRUCTION_SIZE) && instructions[from - 1]?.flow === 'next') from--
  return instructions.slice(from, end)
}

/** Whether the number is in a register of the call's arguments when it comes, and was used for nothing else. */
function staysArgument(place: Placed, row: readonly Placed[], moved: ReadonlyMap<number, bigint>): boolean {
  const register = place.word & 31
  return moved.has(place.offset) && register < ARGUMENTS && !row.some((one) => one.offset > place.offset && names(one, register, moved))
}

/** Where a switch leads, branches do not show. */
const hasSwitch = (instructions: readonly Placed[], call: Placed): boolean =>
  instructions.some((one) => one.flow === 'jump-indirect' && one !== call)

/** What is no register in a wide move or in ADR and ADRP is a number. */
const names = ({ word, form, offset }: Placed, register: number, moved: ReadonlyMap<number, bigint>): boolean =>
  moved.has(offset) || form === 'adr' || form === 'adrp' ? (word & 31) === register : mayName(word, register)

const writes = (word: number, register: number): boolean => mayWrite(word, register)

/** The call, and the loads of the pointer that it goes through, backwards. */
function namesOf(call: Placed, row: readonly Placed[]): CodeRange[] {
  const found = [rangeOf(call)]
  if (call.form !== 'register-branch') return found
  let [register, before] = [(call.word >>> 5) & 31, call.offset]
  for (let loads = 0; loads < MOST_LOADS; loads++) {
    const load = row.findLast(({ word, offset }) => offset < before && writes(word, register))
    if (load === undefined || !isLoad(load.word)) return found
    found.push(rangeOf(load))
    // Only from the very beginning of what the register points to: anything else is a member.
    if (load.word >>> 10 !== LOAD_X >>> 10) return found
    ;[register, before] = [(load.word >>> 5) & 31, load.offset]
  }
  return found
}

const rangeOf = ({ offset }: Placed): CodeRange => ({ offset, length: INSTRUCTION_SIZE })

/** LDR Xt, [Xn, #0]. */
const LOAD_X = 0xf9400000
const isLoad = (word: number): boolean => (word & 0xffc00000) >>> 0 === LOAD_X

/** ADD, ADDS, SUB, SUBS with an immediate (the stack pointer's aside), and registers that loads and stores move. */
function isAdded(word: number, value: number): boolean {
  const [to, from] = [word & 31, (word >>> 5) & 31]
  if ((word & 0x1f800000) === 0x11000000) {
    const ofStack = from === ZERO_OR_STACK || (to === ZERO_OR_STACK && (word & 0x20000000) === 0)
    const immediate = ((word >>> 10) & 0xfff) * ((word & 0x00400000) === 0 ? 1 : 4096)
    return !ofStack && immediate === value
  }
  if (from === ZERO_OR_STACK) return false
  // LDR and STR with [Xn], #n and [Xn, #n]!.
  if ((word & 0x3b200400) === 0x38000400) return Math.abs((word << 11) >> 23) === value
  // LDP and STP with the same; by opc and V what they count in.
  if ((word & 0x3a800000) === 0x28800000) return Math.abs((word << 10) >> 25) * pairScale(word) === value
  return false
}

const pairScale = (word: number): number => ((word & 0x04000000) === 0 ? (word >>> 31 === 1 ? 8 : 4) : 4 << (word >>> 30))
