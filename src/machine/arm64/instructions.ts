/**
 * ARM64 instructions as far as patching looks at them (Arm Architecture Reference Manual, C4.1 "A64 instruction set encoding"). Each is one
 * little-endian word of 4 bytes; an immediate that is a distance counts from the instruction.
 */

export const INSTRUCTION_SIZE = 4

/** Hints: executed as nothing where the processor does not know them. */
export const NOP = 0xd503201f
export const BTI_C = 0xd503245f
export const BTI_JC = 0xd50324df
export const PACIASP = 0xd503233f
export const PACIBSP = 0xd503237f
export const AUTIASP = 0xd50323bf
export const AUTIBSP = 0xd50323ff

/** Where execution goes on after an instruction. */
export type Flow =
  | 'next'
  | 'jump'
  | 'jump-indirect'
  | 'branch'
  | 'return'
  | 'call'
  | 'call-indirect'
  /** SVC, and HVC and SMC, which user code cannot execute. */
  | 'system-call'
  /** BRK, HLT, UDF: nothing comes after it. */
  | 'trap'

export type Form =
  | 'b'
  | 'bl'
  | 'b.cond'
  | 'cbz'
  | 'tbz'
  /** CB<cc> of FEAT_CMPBR. */
  | 'cb'
  | 'adr'
  | 'adrp'
  | 'ldr-literal'
  | 'register-branch'
  | 'add'
  | 'load-store-offset'
  | 'other'

export interface Instruction {
  readonly form: Form
  readonly flow: Flow
  /** What a direct branch, ADR or literal load refers to, ADRP the page, from the instruction (ADRP: from its own page). undefined: nothing. */
  readonly distance: number | undefined
}

export const wordAt = (code: Uint8Array, offset: number): number =>
  ((code[offset] as number) |
    ((code[offset + 1] as number) << 8) |
    ((code[offset + 2] as number) << 16) |
    ((code[offset + 3] as number) << 24)) >>>
  0

export function putWord(code: Uint8Array, offset: number, word: number): void {
  for (let i = 0; i < INSTRUCTION_SIZE; i++) code[offset + i] = word >>> (8 * i)
}

export const wordsOf = (words: readonly number[]): Uint8Array => {
  const code = new Uint8Array(words.length * INSTRUCTION_SIZE)
  for (const [i, word] of words.entries()) putWord(code, i * INSTRUCTION_SIZE, word)
  return code
}

/** Bits [low, low + width) as a signed number. */
const signed = (word: number, low: number, width: number): number => (word << (32 - low - width)) >> (32 - width)

/** The immediate of ADR and ADRP, in bytes or pages. */
const adrImmediate = (word: number): number => signed(word, 5, 19) * 4 + ((word >>> 29) & 3)

interface Pattern {
  readonly mask: number
  readonly value: number
  readonly form: Form
  readonly flow: Flow | ((word: number) => Flow)
  readonly distance?: (word: number) => number
}

const BY_OPC: Readonly<Record<number, Flow>> = {
  0: 'jump-indirect',
  1: 'call-indirect',
  2: 'return',
  4: 'return',
  8: 'jump-indirect',
  9: 'call-indirect',
}

const EXCEPTIONS: Readonly<Record<number, Flow>> = { 0: 'system-call', 1: 'trap', 2: 'trap' }

/** The first that fits. */
const PATTERNS: readonly Pattern[] = [
  { mask: 0xfc000000, value: 0x14000000, form: 'b', flow: 'jump', distance: (w) => signed(w, 0, 26) * 4 },
  { mask: 0xfc000000, value: 0x94000000, form: 'bl', flow: 'call', distance: (w) => signed(w, 0, 26) * 4 },
  { mask: 0xff000000, value: 0x54000000, form: 'b.cond', flow: 'branch', distance: (w) => signed(w, 5, 19) * 4 },
  { mask: 0x7e000000, value: 0x34000000, form: 'cbz', flow: 'branch', distance: (w) => signed(w, 5, 19) * 4 },
  { mask: 0x7e000000, value: 0x36000000, form: 'tbz', flow: 'branch', distance: (w) => signed(w, 5, 14) * 4 },
  { mask: 0x7e000000, value: 0x74000000, form: 'cb', flow: 'branch', distance: (w) => signed(w, 5, 9) * 4 },
  { mask: 0x9f000000, value: 0x10000000, form: 'adr', flow: 'next', distance: adrImmediate },
  { mask: 0x9f000000, value: 0x90000000, form: 'adrp', flow: 'next', distance: (w) => adrImmediate(w) * 4096 },
  { mask: 0x3b000000, value: 0x18000000, form: 'ldr-literal', flow: 'next', distance: (w) => signed(w, 5, 19) * 4 },
  // BR, BLR, RET, ERET and their authenticated forms: the operation is in bits 21 to 24.
  { mask: 0xfe000000, value: 0xd6000000, form: 'register-branch', flow: (w) => BY_OPC[(w >>> 21) & 15] ?? 'trap' },
  // RETAASPPC and RETABSPPC of FEAT_PAuth_LR.
  { mask: 0xff00001f, value: 0x5500001f, form: 'other', flow: 'return' },
  // Exception generation: SVC, HVC, SMC; BRK; HLT.
  { mask: 0xff000000, value: 0xd4000000, form: 'other', flow: (w) => EXCEPTIONS[(w >>> 21) & 7] ?? 'trap' },
  { mask: 0xffff0000, value: 0x00000000, form: 'other', flow: 'trap' },
  // ADD (immediate), not shifted.
  { mask: 0x7fc00000, value: 0x11000000, form: 'add', flow: 'next' },
  { mask: 0x3b000000, value: 0x39000000, form: 'load-store-offset', flow: 'next' },
]

const OTHER: Instruction = { form: 'other', flow: 'next', distance: undefined }

/** Words that are no instruction are `other`, too: they are not told apart here. */
export function decodeWord(word: number): Instruction {
  for (const { mask, value, form, flow, distance } of PATTERNS)
    if ((word & mask) >>> 0 === value) return { form, flow: typeof flow === 'string' ? flow : flow(word), distance: distance?.(word) }
  return OTHER
}

/** An instruction in its function; offsets count from the entry. */
export interface Placed extends Instruction {
  readonly word: number
  readonly offset: number
  /** What it refers to, but for ADRP's page. */
  readonly target: number | undefined
}

export function placedIn(code: Uint8Array): Placed[] {
  const instructions: Placed[] = []
  for (let offset = 0; offset + INSTRUCTION_SIZE <= code.length; offset += INSTRUCTION_SIZE) {
    const word = wordAt(code, offset)
    const instruction = decodeWord(word)
    const { distance, form } = instruction
    instructions.push({ ...instruction, word, offset, target: distance === undefined || form === 'adrp' ? undefined : offset + distance })
  }
  return instructions
}

/** Where instructions name registers (C4.1): bits 0, 5, 10 and 16. What is none there, but part of an immediate, counts as well. */
export const mayName = (word: number, register: number): boolean => NAMES.some((low) => ((word >>> low) & 31) === register)

const NAMES = [0, 5, 10, 16]

/**
 * Whether a general register may be another after an instruction that is no call. Of the common loads and stores (C4.1.66) the register that is loaded and the
 * one that moves are known; of others by op0 any that is named (and exclusives and atomics write some that they do not name); anything else writes the one in its
 * lowest bits.
 */
export function mayWrite(word: number, register: number): boolean {
  if (decodeWord(word).flow === 'branch') return false
  const isLoadStore = (word & 0x0a000000) === 0x08000000
  if (!isLoadStore) return (word & 31) === register
  const access = accessOf(word)
  if (access !== undefined)
    return (access.loads && access.registers.includes(register)) || (access.moves && ((word >>> 5) & 31) === register)
  const isExclusive = (word & 0x3f000000) === 0x08000000
  const isAtomic = (word & 0x3b200c00) >>> 0 === 0x38200000
  return isExclusive || isAtomic || mayName(word, register)
}

interface Access {
  /** General registers that are loaded, or stored. */
  readonly registers: readonly number[]
  readonly loads: boolean
  /** The register with the address is another one behind it. */
  readonly moves: boolean
}

/** Of the loads and stores that compilers use most: of one register with an immediate or a register, of two. */
function accessOf(word: number): Access | undefined {
  const isVector = (word & 0x04000000) !== 0
  const mode = (word >>> 10) & 3
  // LDR, STR and their relatives: [Xn, #unsigned]; [Xn, #signed], [Xn], #n, unprivileged, [Xn, #n]!; [Xn, Rm].
  if ((word & 0x3b000000) === 0x39000000 || (word & 0x3b200000) === 0x38000000 || (word & 0x3b200c00) === 0x38200800)
    return {
      registers: isVector ? [] : [word & 31],
      loads: ((word >>> 22) & 3) !== 0,
      moves: (word & 0x3b200000) === 0x38000000 && (mode & 1) === 1,
    }
  // LDP, STP: without a hint, [Xn], #n, [Xn, #n], [Xn, #n]!.
  if ((word & 0x3a000000) === 0x28000000)
    return {
      registers: isVector ? [] : [word & 31, (word >>> 10) & 31],
      loads: (word & 0x00400000) !== 0,
      moves: (word & 0x00800000) !== 0,
    }
  return undefined
}

export const isNop = (word: number): boolean => word === NOP

/** Whether a processor that executes the instruction while it is replaced by B or NOP executes either, and nothing else. */
export const mayChangeWhileRunning = (word: number): boolean => isNop(word) || ['b', 'bl'].includes(decodeWord(word).form)

/** What an indirect call may land on, and so stays: signing the return address is one, too. */
export const isLandingPad = (word: number): boolean => word === BTI_C || word === BTI_JC || isSigning(word)

export const isSigning = (word: number): boolean => word === PACIASP || word === PACIBSP

/** Base-2 logarithm of what a load or store (unsigned offset) counts in. */
export const offsetScale = (word: number): number => {
  const size = word >>> 30
  const vector = (word & 0x04000000) !== 0
  return vector && size === 0 && (word & 0x00800000) !== 0 ? 4 : size
}

/** Moves the stack pointer as a prologue does: SUB sp; STP and STR with [sp, #n]!. No loop comes back to such an instruction. */
export const lowersStack = (word: number): boolean =>
  (word & 0xff8003ff) >>> 0 === 0xd10003ff ||
  (word & 0x3fc003e0) >>> 0 === 0x298003e0 ||
  (word & 0x3fe00fe0) >>> 0 === 0x38000fe0 ||
  (word & 0x3fc003e0) >>> 0 === 0x2d8003e0

/** Copies or fills memory (FEAT_MOPS), and may be interrupted in its middle with other register contents. */
export const isResumable = (word: number): boolean => (word & 0x3b200c00) >>> 0 === 0x19000400

/** From which register on the caller's contents must be there again when a function returns: x19 to x29, and x30, which is where it returns to. */
const FIRST_KEPT = 19

/**
 * Whether `pop` takes off the stack what `push` has put there, registers that outlive the function: STP and LDP of [sp, #-n]! and [sp], #n, or STR and LDR.
 */
export function takesOff(pop: number, push: number): boolean {
  const pair = (push & 0xffc003e0) >>> 0 === 0xa98003e0 && (pop & 0xffc003e0) >>> 0 === 0xa8c003e0
  const single = (push & 0xffe00fe0) >>> 0 === 0xf8000fe0 && (pop & 0xffe00fe0) >>> 0 === 0xf84007e0
  if (!pair && !single) return false
  const [low, width] = pair ? ([15, 7] as const) : ([12, 9] as const)
  const [registers, first] = [pair ? 0x7c1f : 0x1f, push & 31]
  return (
    first >= FIRST_KEPT && first < 31 && (pop & registers) === (push & registers) && signed(pop, low, width) === -signed(push, low, width)
  )
}
