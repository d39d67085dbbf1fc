/**
 * Pairing two versions of x64 code. A constant that grows can change the length of its instruction (`push imm8` to `push imm32`); behind it
 * branches reach further, take their longer forms, and alignments need other nops. All else must be the same byte for byte.
 */
import type { CodePairing, CodeVersion, DifferentConstant } from '../pairing.ts'
import { decode, encodedFields, type Instruction, immediateOf } from './decode.ts'

interface Version extends CodeVersion {
  readonly instructions: readonly Instruction[]
  /** Those that do something. */
  readonly acting: readonly Instruction[]
  /** Index in `acting` by the offset of every instruction: of itself, or of the next that does something. */
  readonly indices: ReadonlyMap<number, number>
}

/** See PairCode. */
export function pairCode(before: CodeVersion, after: CodeVersion): CodePairing | undefined {
  const b = decoded(before)
  const a = decoded(after)
  if (b === undefined || a === undefined || b.acting.length !== a.acting.length) return undefined
  const constants: DifferentConstant[] = []
  for (const [index, instruction] of b.acting.entries()) {
    const other = a.acting[index] as Instruction
    if (!sameDestination(instruction, b, other, a)) return undefined
    const different = differences(instruction, b, other, a)
    if (different === undefined) return undefined
    for (const { values, loads } of different) constants.push({ index, before: values[0], after: values[1], loads })
  }
  const instructions = b.acting.map(({ offset }, i) => ({ before: offset, after: (a.acting[i] as Instruction).offset }))
  return { instructions: [...instructions, { before: before.bytes.length, after: after.bytes.length }], constants }
}

function decoded(version: CodeVersion): Version | undefined {
  const { instructions, stoppedAt } = decode(version.bytes)
  if (stoppedAt !== undefined) return undefined
  const acting = instructions.filter(({ nop }) => !nop)
  const indices = new Map<number, number>()
  let next = 0
  for (const { offset, nop } of instructions) {
    indices.set(offset, next)
    if (!nop) next++
  }
  indices.set(version.bytes.length, next)
  return { ...version, instructions, acting, indices }
}

/** Offset of a relocated field in the instruction, from the instruction's start; undefined: it has none. */
function relocatedField({ offset, length }: Instruction, { relocated }: CodeVersion): number | undefined {
  for (let at = offset; at < offset + length; at++) if (relocated.has(at)) return at - offset
  return undefined
}

/** Direct branches, and operands at a distance from the instruction, lead to paired instructions unless a relocation says where they lead. */
function sameDestination(before: Instruction, b: Version, after: Instruction, a: Version): boolean {
  // A relocated distance holds zero: it seems to lead to the instruction's end.
  const isOpen = (at: number, instruction: Instruction, version: Version): boolean =>
    at === instruction.offset + instruction.length && relocatedField(instruction, version) !== undefined
  const same = (from: number | undefined, to: number | undefined): boolean => {
    if (from === undefined || to === undefined) return from === to
    if (isOpen(from, before, b) || isOpen(to, after, a)) return isOpen(from, before, b) && isOpen(to, after, a)
    const index = b.indices.get(from)
    return index !== undefined && index === a.indices.get(to)
  }
  return same(before.target, after.target) && same(before.ripTarget, after.ripTarget)
}

interface Difference {
  readonly values: readonly [bigint, bigint]
  readonly loads: boolean
}

/** Constants in which the two differ; undefined: they differ in more. Destinations have been compared. */
function differences(before: Instruction, b: Version, after: Instruction, a: Version): readonly Difference[] | undefined {
  const [mine, theirs] = [bytesOf(before, b), bytesOf(after, a)]
  const field = relocatedField(before, b)
  const sameForm = mine.length === theirs.length
  if (sameForm && field !== relocatedField(after, a)) return undefined
  if (sameForm && Buffer.compare(mine, theirs) === 0) return []
  if (before.target !== undefined) return sameBranch(mine, theirs) ? [] : undefined
  if (sameForm ? !equalOutsideFields(before, b, after, a) : !isPush(mine) || !isPush(theirs)) return undefined
  const [from, to] = [immediateOf(b.bytes, before.offset), immediateOf(a.bytes, after.offset)]
  if (from === undefined || to === undefined) return before.ripTarget !== undefined && sameForm ? [] : undefined
  if (relocatedAt(from.offset, b) || relocatedAt(to.offset, a)) return undefined
  return from.value === to.value ? [] : [{ values: [from.value, to.value], loads: from.loads && to.loads }]
}

const relocatedAt = (offset: number, { relocated }: CodeVersion): boolean => relocated.has(offset)
const bytesOf = ({ offset, length }: Instruction, { bytes }: CodeVersion): Uint8Array => bytes.subarray(offset, offset + length)

/** Bytes are the same but for the immediate, and for a displacement that counts from the instruction. */
function equalOutsideFields(before: Instruction, b: Version, after: Instruction, a: Version): boolean {
  const fields = encodedFields(b.bytes, before.offset)
  const immediate = immediateOf(b.bytes, before.offset)
  if (JSON.stringify(fields.map((f) => [f.offset - before.offset, f.size])) !== fieldShape(after, a)) return false
  const free = fields.filter((f) => f.offset === immediate?.offset || (before.ripTarget !== undefined && f.size === 4))
  for (let i = 0; i < before.length; i++) {
    const at = before.offset + i
    if (free.some((f) => at >= f.offset && at < f.offset + f.size)) continue
    if (b.bytes[at] !== a.bytes[after.offset + i]) return false
  }
  return true
}

const fieldShape = ({ offset }: Instruction, { bytes }: CodeVersion): string =>
  JSON.stringify(encodedFields(bytes, offset).map((f) => [f.offset - offset, f.size]))

/** `6A ib` and `68 id`. */
const isPush = ([opcode]: Uint8Array): boolean => opcode === 0x6a || opcode === 0x68

/** One branch in its short or its near form, without prefixes: `EB` and `E9`, `7x` and `0F 8x`; or the same opcode. */
function sameBranch(mine: Uint8Array, theirs: Uint8Array): boolean {
  const [m, t] = [branchOf(mine), branchOf(theirs)]
  return m !== undefined && m === t
}

/** E8: call. E0 to E3: loop and jrcxz, which have one form. */
function branchOf([first = 0, second = 0]: Uint8Array): string | undefined {
  if (first === 0xeb || first === 0xe9) return 'jmp'
  if (first === 0xe8 || (first >= 0xe0 && first <= 0xe3)) return `${first}`
  if ((first & 0xf0) === 0x70) return `j${first & 0xf}`
  return first === 0x0f && (second & 0xf0) === 0x80 ? `j${second & 0xf}` : undefined
}
