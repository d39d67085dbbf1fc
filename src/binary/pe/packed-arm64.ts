/**
 * Packed unwind data of ARM64: a record of .pdata that describes, in one word, a function with the prologue and epilogue of the "Packed unwind
 * data" section of the Windows documentation. Here it becomes the codes that .xdata would have.
 */
import { HotpatchError } from '../../errors.ts'
import { ARM64_FLAG, type Arm64Code, type Arm64Record, type Arm64Unwind, sequenceLength } from './unwind-arm64.ts'

/** How the frame chain and the return address are kept (CR). */
const CHAIN = { NONE: 0, RETURN_ADDRESS: 1, SIGNED: 2, CHAINED: 3 } as const

/** Allocations beyond what one instruction subtracts are made in two. */
const LARGEST_ALLOCATION = 4080
/** Up to this the frame chain's `stp` lowers the stack itself. */
const LARGEST_PAIR_OFFSET = 512

export interface PackedArm64 {
  readonly flag: number
  /** Bytes. */
  readonly functionLength: number
  /** Floating-point registers saved from d8 on, one less; 0: none. */
  readonly regF: number
  /** General registers saved from x19 on. */
  readonly regI: number
  /** Whether x0 to x7 are stored first. */
  readonly homes: boolean
  readonly chain: number
  /** Bytes. */
  readonly frameSize: number
}

export const unpack = (word: number): PackedArm64 => ({
  flag: word & 3,
  functionLength: ((word >>> 2) & 0x7ff) * 4,
  regF: (word >>> 13) & 7,
  regI: (word >>> 16) & 15,
  homes: ((word >>> 20) & 1) === 1,
  chain: (word >>> 21) & 3,
  frameSize: ((word >>> 23) & 0x1ff) * 16,
})

const saved = (kind: 'x' | 'd', registers: readonly number[], offset: number, writeBack = false): Arm64Code => ({
  op: 'save',
  kind,
  registers,
  offset,
  writeBack,
})
const alloc = (size: number): Arm64Code => ({ op: 'alloc', size })

/** Throws MALFORMED for what describes no function. */
export function readPackedArm64({ UnwindData }: Arm64Record): Arm64Unwind {
  const packed = unpack(UnwindData)
  const { functionLength, chain, homes, regI, regF } = packed
  const chained = chain === CHAIN.CHAINED || chain === CHAIN.SIGNED
  const integers = 8 * (regI + (chain === CHAIN.RETURN_ADDRESS ? 1 : 0))
  const floats = regF === 0 ? 0 : regF + 1
  const room = Math.ceil((integers + 8 * floats + (homes ? 64 : 0)) / 16) * 16
  const locals = packed.frameSize - room
  if (regI > 10 || locals < 0 || (chain === CHAIN.RETURN_ADDRESS && regI === 1) || (chained && locals < 16))
    throw new HotpatchError('MALFORMED', `the packed unwind data 0x${UnwindData.toString(16)} describe no function`)

  // In the order of the prologue.
  const steps: Arm64Code[] = []
  if (chain === CHAIN.SIGNED) steps.push({ op: 'sign' })
  steps.push(...integerSaves(packed, room), ...floatSaves(floats, integers, room))
  const lowered = steps.some((code) => code.op === 'save')
  const stores: Arm64Code[] = homes ? [lowered ? { op: 'nop' } : alloc(room), { op: 'nop' }, { op: 'nop' }, { op: 'nop' }] : []
  const rest: Arm64Code[] = []
  if (locals > LARGEST_ALLOCATION) rest.push(alloc(LARGEST_ALLOCATION), alloc(locals - LARGEST_ALLOCATION))
  else if (locals > (chained ? LARGEST_PAIR_OFFSET : 0)) rest.push(alloc(locals))
  if (chained) {
    rest.push(saved('x', [29, 30], locals <= LARGEST_PAIR_OFFSET ? locals : 0, locals <= LARGEST_PAIR_OFFSET))
    rest.push({ op: 'set-frame', offset: 0 })
  }
  const end: Arm64Code = { op: 'end' }
  const codes = [...[...steps, ...stores, ...rest].reverse(), end]
  // Nothing takes back what was only stored.
  const taken = [...[...steps, ...stores.filter(({ op }) => op !== 'nop'), ...rest].reverse(), end]
  const facts = { functionLength, handler: undefined, size: 0 }
  if (packed.flag === ARM64_FLAG.PACKED_FRAGMENT) return { ...facts, codes: [{ op: 'end-chained' }, ...codes], epilogues: [] }
  return { ...facts, codes, epilogues: [{ start: functionLength - sequenceLength(taken) - 4, codes: taken }] }
}

function integerSaves({ regI, chain }: PackedArm64, room: number): Arm64Code[] {
  const withReturn = chain === CHAIN.RETURN_ADDRESS
  const steps: Arm64Code[] = []
  const add = (registers: readonly number[], offset: number): void => {
    steps.push(steps.length === 0 ? saved('x', registers, room, true) : saved('x', registers, offset))
  }
  for (let i = 0; i + 1 < regI; i += 2) add([19 + i, 20 + i], 8 * i)
  if (regI % 2 === 1) add(withReturn ? [18 + regI, 30] : [18 + regI], 8 * (regI - 1))
  else if (withReturn) add([30], 8 * regI)
  return steps
}

function floatSaves(count: number, integers: number, room: number): Arm64Code[] {
  const steps: Arm64Code[] = []
  for (let i = 0; i < count; i += 2) {
    const registers = i + 1 < count ? [8 + i, 9 + i] : [8 + i]
    steps.push(i === 0 && integers === 0 ? saved('d', registers, room, true) : saved('d', registers, integers + 8 * i))
  }
  return steps
}
