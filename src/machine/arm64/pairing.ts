/**
 * Pairing two versions of ARM64 code. Every instruction has 4 bytes, so a constant that grows moves nothing unless it takes one more; what can
 * differ in length is the filling before aligned places. A constant of up to 16 bits is one MOVZ, a larger one a MOVZ and the MOVKs that follow it.
 */
import type { CodePairing, CodeVersion, DifferentConstant } from '../pairing.ts'
import { IMM14, IMM16, IMM19, IMM21, IMM26 } from './edges.ts'
import { decodeWord, type Form, INSTRUCTION_SIZE, isNop, mayName, wordAt } from './instructions.ts'

interface Acting {
  readonly offset: number
  readonly word: number
  readonly isRelocated: boolean
}

interface Version {
  /** Instructions that do something. */
  readonly acting: readonly Acting[]
  /** Index in `acting` by the offset of every instruction: of itself, or of the next that does something. */
  readonly indices: ReadonlyMap<number, number>
  /** Indices that branches within the code lead to. */
  readonly targets: ReadonlySet<number>
}

/** Where an instruction holds the distance to what it refers to. CB<cc>: 9 bits at 5. */
const DISTANCE: Readonly<Partial<Record<Form, number>>> = {
  b: IMM26,
  bl: IMM26,
  'b.cond': IMM19,
  cbz: IMM19,
  'ldr-literal': IMM19,
  tbz: IMM14,
  cb: 0x3fe0,
  adr: IMM21,
}

/** See PairCode. */
export function pairCode(before: CodeVersion, after: CodeVersion): CodePairing | undefined {
  const b = decoded(before)
  const a = decoded(after)
  if (b === undefined || a === undefined || b.acting.length !== a.acting.length) return undefined
  const constants = new Map<number, DifferentConstant>()
  for (const [index, mine] of b.acting.entries()) {
    const other = a.acting[index] as Acting
    if (mine.isRelocated !== other.isRelocated) return undefined
    if (isSame(mine, b, other, a)) continue
    if (mine.isRelocated || !isWide(mine.word) || !isWide(other.word) || (mine.word & ~IMM16) !== (other.word & ~IMM16)) return undefined
    const constant = loaded(index, b, a)
    constants.set(constant.index, constant)
  }
  const instructions = b.acting.map(({ offset }, i) => ({ before: offset, after: (a.acting[i] as Acting).offset }))
  return {
    instructions: [...instructions, { before: before.bytes.length, after: after.bytes.length }],
    constants: [...constants.values()].filter((constant) => constant.before !== constant.after),
  }
}

/** undefined: it is not whole instructions. */
function decoded({ bytes, relocated }: CodeVersion): Version | undefined {
  if (bytes.length % INSTRUCTION_SIZE !== 0) return undefined
  const acting: Acting[] = []
  const indices = new Map<number, number>()
  for (let offset = 0; offset < bytes.length; offset += INSTRUCTION_SIZE) {
    indices.set(offset, acting.length)
    const [word, isRelocated] = [wordAt(bytes, offset), relocated.has(offset)]
    if (isRelocated || !isNop(word)) acting.push({ offset, word, isRelocated })
  }
  indices.set(bytes.length, acting.length)
  const targets = new Set<number>()
  for (const instruction of acting) {
    const index = indices.get(instruction.offset + (decodeWord(instruction.word).distance ?? 0))
    if (!instruction.isRelocated && isBranch(instruction.word) && index !== undefined) targets.add(index)
  }
  return { acting, indices, targets }
}

const isBranch = (word: number): boolean => ['jump', 'branch', 'call'].includes(decodeWord(word).flow)

/** The same operation on the same operands; what a distance leads to is paired. What relocations fill is compared elsewhere. */
function isSame(mine: Acting, b: Version, other: Acting, a: Version): boolean {
  const [from, to] = [decodeWord(mine.word), decodeWord(other.word)]
  const field = DISTANCE[from.form]
  if (mine.isRelocated || field === undefined || from.form !== to.form) return mine.word === other.word
  const index = b.indices.get(mine.offset + (from.distance as number))
  return (
    index !== undefined && index === a.indices.get(other.offset + (to.distance as number)) && (mine.word & ~field) === (other.word & ~field)
  )
}

/** MOVZ and MOVK; which half-word is in bits 21 and 22. */
const isZeroing = (word: number): boolean => (word & 0x7f800000) === 0x52800000
const isKeeping = (word: number): boolean => (word & 0x7f800000) === 0x72800000
const isWide = (word: number): boolean => isZeroing(word) || isKeeping(word)
const registerOf = (word: number): number => word & 31
const shiftOf = (word: number): number => 16 * ((word >>> 21) & 3)

/** The whole constant that the wide moves at `index` have a part in. */
function loaded(index: number, b: Version, a: Version): DifferentConstant {
  const first = beginning(index, b, a)
  if (first === undefined) {
    const { word } = b.acting[index] as Acting
    return { index, before: partOf(word), after: partOf((a.acting[index] as Acting).word), loads: false }
  }
  const members = [first]
  for (let next = first + 1; next < b.acting.length; next++) {
    const step = stepAt(next, (b.acting[first] as Acting).word, b, a)
    if (step === 'end') break
    if (step === 'part') members.push(next)
  }
  const value = ({ acting }: Version): bigint => members.reduce((sum, i) => withPart(sum, (acting[i] as Acting).word), 0n)
  return { index: first, before: value(b), after: value(a), loads: true }
}

/** The MOVZ that what is at `index` goes on from; undefined: something else may have come between. */
function beginning(index: number, b: Version, a: Version): number | undefined {
  const { word } = b.acting[index] as Acting
  if (isZeroing(word)) return index
  if (b.targets.has(index) || a.targets.has(index)) return undefined
  for (let i = index - 1; i >= 0; i--) {
    const other = (b.acting[i] as Acting).word
    if (isZeroing(other) && registerOf(other) === registerOf(word)) return (other ^ word) >>> 31 === 0 ? i : undefined
    if (stepAt(i, word, b, a) === 'end') return undefined
  }
  return undefined
}

/** Whether an instruction is a part of the constant that is being put into a register, has nothing to do with that register, or ends it. */
function stepAt(index: number, wide: number, b: Version, a: Version): 'part' | 'beside' | 'end' {
  const { word } = b.acting[index] as Acting
  if (b.targets.has(index) || a.targets.has(index)) return 'end'
  if (isKeeping(word) && registerOf(word) === registerOf(wide)) return (word ^ wide) >>> 31 === 0 ? 'part' : 'end'
  return decodeWord(word).flow !== 'next' || mayName(word, registerOf(wide)) ? 'end' : 'beside'
}

const partOf = (word: number): bigint => BigInt((word & IMM16) >>> 5) << BigInt(shiftOf(word))

const withPart = (value: bigint, word: number): bigint => (value & ~(0xffffn << BigInt(shiftOf(word)))) | partOf(word)
