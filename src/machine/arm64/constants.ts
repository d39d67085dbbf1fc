/**
 * Numbers in ARM64 code: what MOVZ, MOVN and the MOVKs behind them put into a register, with other instructions between them as compilers schedule
 * them, and bit masks that are moved (ORR with the zero register). Up to 16 bits that an instruction holds beside its registers are not looked at.
 */
import { decodeWord, INSTRUCTION_SIZE, mayName, mayWrite, wordAt } from './instructions.ts'

const [INVERTED, ZEROED, KEPT] = [0x12800000, 0x52800000, 0x72800000]
/** ORR Rd, zr, #mask. */
const MOVED_MASK = 0x320003e0
const OPERATION = 0x7f800000

const is64 = (word: number): boolean => word >>> 31 === 1
const widthOf = (word: number): number => (is64(word) ? 64 : 32)
const shiftOf = (word: number): bigint => 16n * BigInt((word >>> 21) & 3)
const partOf = (word: number): bigint => BigInt((word >>> 5) & 0xffff) << shiftOf(word)

/** CodeReading.constants: each as it stands when it is used, signed by the width of its register. */
export function constantsIn(code: Uint8Array): bigint[] {
  const found: bigint[] = []
  const loading = new Map<number, bigint>()
  for (let offset = 0; offset + INSTRUCTION_SIZE <= code.length; offset += INSTRUCTION_SIZE) {
    const word = wordAt(code, offset)
    const register = word & 31
    const begun = begins(word)
    const kept = (word & OPERATION) === KEPT ? loading.get(register) : undefined
    if (begun !== undefined) take(register)
    else if (kept === undefined) for (const one of [...loading.keys()]) if (uses(word, one)) take(one)
    const value = begun ?? (kept === undefined ? undefined : (kept & ~(0xffffn << shiftOf(word))) | partOf(word))
    if (value !== undefined) loading.set(register, BigInt.asIntN(widthOf(word), value))
  }
  return [...found, ...loading.values()]

  function take(register: number): void {
    const value = loading.get(register)
    if (value !== undefined) found.push(value)
    loading.delete(register)
  }
}

/** What each wide move, or moved bit mask, leaves in its register, by the instruction's offset. */
export function widelyMoved(code: Uint8Array): Map<number, bigint> {
  const moved = new Map<number, bigint>()
  const held = new Map<number, bigint>()
  for (let offset = 0; offset + INSTRUCTION_SIZE <= code.length; offset += INSTRUCTION_SIZE) {
    const word = wordAt(code, offset)
    const begun = begins(word)
    const kept = (word & OPERATION) === KEPT ? held.get(word & 31) : undefined
    const value = begun ?? (kept === undefined ? undefined : (kept & ~(0xffffn << shiftOf(word))) | partOf(word))
    for (const register of [...held.keys()]) if (mayWrite(word, register)) held.delete(register)
    if (value === undefined) continue
    const whole = BigInt.asIntN(widthOf(word), value)
    held.set(word & 31, whole)
    moved.set(offset, whole)
  }
  return moved
}

/** What an instruction that begins a constant puts into its register; undefined: it does not. */
function begins(word: number): bigint | undefined {
  if ((word & OPERATION) === ZEROED) return partOf(word)
  if ((word & OPERATION) === INVERTED) return ~partOf(word)
  return (word & 0x7f8003e0) === MOVED_MASK ? maskOf(word) : undefined
}

const uses = (word: number, register: number): boolean => {
  const { flow, form } = decodeWord(word)
  const isWide = [INVERTED, ZEROED, KEPT].includes(word & OPERATION)
  if (flow !== 'next' || form === 'adr' || form === 'adrp' || isWide) return false
  return mayName(word, register)
}

/** The immediate of logical instructions (DecodeBitMasks): a run of ones in an element of 2 to 64 bits, rotated, and repeated. */
function maskOf(word: number): bigint | undefined {
  const [n, immr, imms] = [(word >>> 22) & 1, (word >>> 16) & 63, (word >>> 10) & 63]
  const length = 31 - Math.clz32((n << 6) | (~imms & 63))
  if (length < 1) return undefined
  const size = 1 << length
  const ones = (imms & (size - 1)) + 1
  const run = (1n << BigInt(ones)) - 1n
  const turn = BigInt(immr & (size - 1))
  const element = BigInt.asUintN(size, (run >> turn) | (run << (BigInt(size) - turn)))
  let value = 0n
  for (let at = 0; at < widthOf(word); at += size) value |= element << BigInt(at)
  return value
}
