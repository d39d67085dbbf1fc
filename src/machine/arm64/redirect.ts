/**
 * How an ARM64 function is redirected to its stub: `B stub` over one instruction, at the entry or behind the instruction that an indirect call
 * lands on. That is one aligned word: the switch is one store, and no thread can stand in the middle of it. Only where the old instruction is
 * a NOP or a branch, too, is it promised that another processor executes the old one or the new (Arm ARM, "Concurrent modification and
 * execution of instructions"); else that takes a context synchronization event, which a thread that was stopped has had.
 * What else is said in x64/redirect.ts of lost instructions holds here:
 *
 * - Calls come to the entry and go on in the new function.
 * - A thread in the rest of the old function must not come back to the lost instruction: RULES.
 * - A thread that stands at it has executed nothing of the function yet, or only its landing pad, and takes the jump.
 *
 * A landing pad that is PACIASP or PACIBSP has signed the return address by then: the new function is entered behind its own (see landing).
 */
import { HotpatchError } from '../../errors.ts'
import type { Landing } from '../architecture.ts'
import type { EncodedRedirect, RedirectPlan, RedirectRefusal, RedirectSite } from '../redirect.ts'
import { reaches, withField } from './fields.ts'
import {
  AUTIASP,
  AUTIBSP,
  decodeWord,
  INSTRUCTION_SIZE,
  type Instruction,
  isLandingPad,
  isNop,
  isResumable,
  isSigning,
  lowersStack,
  mayChangeWhileRunning,
  type Placed,
  placedIn,
  takesOff,
  wordAt,
  wordsOf,
} from './instructions.ts'
import { type JumpTable, jumpTables } from './jump-tables.ts'
import { unsigningJump } from './stubs.ts'

/** B with a distance of 0. */
const BRANCH = 0x14000000

/** Offsets count from the entry. */
interface Attempt {
  readonly instructions: readonly Placed[]
  readonly tables: readonly JumpTable[]
  readonly branchTargets: readonly number[]
  /** The overwritten instruction is [start, end). */
  readonly start: number
  readonly end: number
  readonly lost: number
}

/** Says how the function could come back to the overwritten instruction; undefined: not in this way. */
type Rule = (attempt: Attempt) => string | undefined

const isJump = ({ flow }: Instruction): boolean => flow === 'jump' || flow === 'branch'

/**
 * A function that calls itself last jumps to its entry instead, when its frame is gone: see x64/redirect.ts. What the entry puts on the stack is taken off
 * right before, but for the check of the return address.
 */
function isTailCall({ flow, offset, target }: Placed, { instructions, start, lost }: Attempt): boolean {
  if (flow !== 'jump' || (target !== 0 && target !== start)) return false
  const previous = instructions.findLast((one) => one.offset < offset && one.word !== AUTIASP && one.word !== AUTIBSP)
  return previous !== undefined && takesOff(previous.word, lost)
}

/** From 0: what jumps to the landing pad runs into what is behind it. */
const noJumpBack: Rule = (attempt) => {
  const { instructions, end } = attempt
  const back = instructions.find((i) => isJump(i) && i.target !== undefined && i.target >= 0 && i.target < end && !isTailCall(i, attempt))
  return back && `jumps back from offset ${back.offset} to offset ${back.target}, which would be overwritten or leads there`
}

const noIndirectJumpBack: Rule = ({ branchTargets, tables, end }) => {
  const target = [...branchTargets, ...tables.flatMap(({ targets }) => targets)].find((t) => t >= 0 && t < end)
  return target === undefined ? undefined : `is jumped into at offset ${target} from a table or from elsewhere, and it would be overwritten`
}

/**
 * Jump tables of gcc and clang hold distances from a place in the function, which no relocation shows, and not all can be read. The instruction that lowers the stack at
 * the beginning is never their target: each round would take more of the stack.
 */
const noTableBack: Rule = ({ instructions, tables, lost }) => {
  const jump = instructions.find(({ flow }) => flow === 'jump-indirect')
  const isRead = (one: Placed): boolean => tables.some(({ adr }) => adr === one)
  const inside = (one: Placed): boolean => one.form === 'adr' && instructions.some(({ offset }) => offset === one.target) && !isRead(one)
  if (jump === undefined || !instructions.some(inside) || lowersStack(lost) || isSigning(lost) || isNop(lost)) return undefined
  return `jumps at offset ${jump.offset} through a table that may lead to its first instruction, which would be overwritten`
}

/** A call of the entry is recursion. Anything else that means the overwritten instruction needs it as it is. */
const noReference: Rule = ({ instructions, start, end }) => {
  const inside = (target: number | undefined): boolean => target !== undefined && target > 0 && target < end && target !== start
  const within = (target: number | undefined): boolean => target !== undefined && target >= start && target < end
  const user = instructions.find(
    ({ flow, form, target }) =>
      (flow === 'call' && inside(target)) || (form === 'ldr-literal' && within(target)) || (form === 'adr' && inside(target)),
  )
  return user && `refers from offset ${user.offset} to the instruction that would be overwritten`
}

/** The kernel takes a thread back to the instruction when the call is to be done again after a signal. BRK there may be a debugger's. */
const noSystemCall: Rule = ({ lost, start }) => {
  const { flow } = decodeWord(lost)
  return flow === 'system-call' || flow === 'trap'
    ? `makes a system call or traps at offset ${start}, which would be overwritten`
    : undefined
}

const noResumable: Rule = ({ lost, start }) =>
  isResumable(lost) ? `has at offset ${start} an instruction that can be interrupted in its middle, and it would be overwritten` : undefined

const RULES: readonly Rule[] = [noJumpBack, noIndirectJumpBack, noTableBack, noReference, noSystemCall, noResumable]

export const hasLandingPad = (code: Uint8Array): boolean => code.length >= INSTRUCTION_SIZE && isLandingPad(wordAt(code, 0))

/** How to redirect a function, or why it cannot be. */
export function planRedirect(site: RedirectSite): RedirectPlan | RedirectRefusal {
  const { size } = site
  if (site.code.length < size) return { refused: 'UNDECODABLE', why: `has ${size} bytes, of which only ${site.code.length} are known` }
  if (size % INSTRUCTION_SIZE !== 0) return { refused: 'UNDECODABLE', why: `has ${size} bytes, which are not whole instructions` }
  const code = site.code.subarray(0, size)
  const start = hasLandingPad(code) ? INSTRUCTION_SIZE : 0
  const end = start + INSTRUCTION_SIZE
  if (size < end)
    return {
      refused: 'FUNCTION_TOO_SHORT',
      why: `has ${size - start} bytes${start > 0 ? ' behind its landing pad' : ''}, a branch takes 4`,
    }
  const lost = wordAt(code, start)
  const { branchTargets = [], around } = site
  const instructions = placedIn(code)
  const tables = around === undefined ? [] : jumpTables(instructions, around, branchTargets)
  const attempt: Attempt = { instructions, tables, branchTargets, start, end, lost }
  for (const rule of RULES) {
    const why = rule(attempt)
    if (why !== undefined) return { refused: 'REDIRECT_UNSAFE', why }
  }
  return {
    kind: isNop(lost) ? 'entry-nops' : 'first-bytes',
    prepare: [],
    switch: { offset: start, length: INSTRUCTION_SIZE },
    guard: [{ start, end }],
    undoGuard: [],
    safeWhileRunning: mayChangeWhileRunning(lost),
  }
}

/** The plan's bytes for a function at `entry` and a stub at `stub`. Throws REDIRECT_OUT_OF_REACH. */
export function encodeRedirect(plan: RedirectPlan, entry: bigint, stub: bigint): EncodedRedirect {
  const address = entry + BigInt(plan.switch.offset)
  const distance = Number(stub - address)
  if (!reaches('branch26', distance, 0))
    throw new HotpatchError('REDIRECT_OUT_OF_REACH', `a branch at 0x${address.toString(16)} does not reach 0x${stub.toString(16)}`, {
      facts: { from: `0x${address.toString(16)}`, target: `0x${stub.toString(16)}` },
    })
  return { prepare: [], switch: { address, bytes: wordsOf([withField('branch26', BRANCH, distance, 0)]), atomic: true } }
}

/** Architecture.redirects.landing. */
export function landing(before: Uint8Array, after: Uint8Array): Landing {
  const first = before.length >= INSTRUCTION_SIZE ? wordAt(before, 0) : 0
  if (!isSigning(first)) return { at: 0 }
  return after.length >= INSTRUCTION_SIZE && wordAt(after, 0) === first ? { at: INSTRUCTION_SIZE } : { through: unsigningJump(first) }
}
