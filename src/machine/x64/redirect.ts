/**
 * How an x64 function is redirected to its stub.
 *
 * Three forms, see FORMS. With padding before the function, a jump goes into its last bytes, and a 2-byte jump to it (EB) over the entry.
 * Where the padding has 6 bytes, that jump is `jmp [rip+rel32]` (FF 25) through the pointer of the stub; where it has only 5, `jmp rel32` (E9)
 * to the stub, which makes three jumps of a call instead of two. Without padding, the `jmp rel32` goes over the entry itself. What of the function is lost is the same to both: the
 * instructions that begin in the overwritten bytes. They are never executed again, so nothing of the old function may need them:
 *
 * - Calls of the function come to its entry and go on in the new function: that is the purpose.
 * - A thread that is in the function's remainder runs on in the old code and must not come back to the overwritten bytes. RULES lists
 *   how it could, and why each way is closed. To come back to the entry itself is no better than into its middle: a loop's arguments
 *   are no longer those of a call.
 * - A thread whose instruction pointer is strictly inside would go on with bytes of the jump: that is the plan's guard. A thread exactly at
 *   the entry has executed nothing of the function yet and takes the jump.
 *
 * With control-flow enforcement (CET) an indirect call must find `endbr64` at the entry: where the function has one it stays, and "the entry"
 * of the above is the place behind it. Jumps through HPAT need no such landing: direct jumps do not ask for one.
 *
 * Intel SDM 3A 9.1.1 guarantees an aligned store of 2, 4 or 8 bytes to be seen whole; 9.1.3 is on code that other processors
 * execute: a switch that only replaces one instruction's beginning leaves them with the old instruction or the new one.
 */
import type { EncodedRedirect, RecognizedRedirect, RedirectKind, RedirectPlan, RedirectRefusal, RedirectSite } from '../redirect.ts'
import { decode, type Instruction, keptRegister } from './decode.ts'
import {
  encodeNearJump,
  encodePointerJump,
  encodeShortJump,
  HPAT_POINTER_DISTANCE,
  NEAR_JUMP_SIZE,
  POINTER_JUMP_SIZE,
  SHORT_JUMP_SIZE,
} from './stubs.ts'

interface Form {
  /** Bytes of padding right before the entry that the form uses. */
  readonly padding: number
  /** Bytes overwritten at the entry. */
  readonly overwritten: number
  /** What it is called where only nops are overwritten, and where code is. */
  readonly overNops: RedirectKind
  readonly overCode: RedirectKind
}

/** The cheapest first: what overwrites less of the function comes before what overwrites more. */
const FORMS: readonly Form[] = [
  { padding: POINTER_JUMP_SIZE, overwritten: SHORT_JUMP_SIZE, overNops: 'entry-nops', overCode: 'padding' },
  { padding: NEAR_JUMP_SIZE, overwritten: SHORT_JUMP_SIZE, overNops: 'entry-nops', overCode: 'padding' },
  { padding: 0, overwritten: NEAR_JUMP_SIZE, overNops: 'entry-nops', overCode: 'first-bytes' },
]

const ENDBR64 = Uint8Array.of(0xf3, 0x0f, 0x1e, 0xfa)

export const hasLandingPad = (code: Uint8Array): boolean => ENDBR64.every((byte, i) => code[i] === byte)

/** Where the jump goes, from the entry: behind an `endbr64`. */
const patchOffset = (code: Uint8Array): number => (hasLandingPad(code) ? ENDBR64.length : 0)

/** A function with a form tried on it. Offsets count from the entry. */
interface Attempt {
  readonly code: Uint8Array
  /** Of the whole function. */
  readonly instructions: readonly Instruction[]
  readonly branchTargets: readonly number[]
  /** The overwritten bytes are [start, end). */
  readonly start: number
  readonly end: number
  /** The instructions that begin in them. */
  readonly lost: readonly Instruction[]
}

/** The one-byte breakpoint. */
const isInt3 = ({ flow, length }: Instruction): boolean => flow === 'interrupt' && length === 1

/** What assemblers and linkers fill gaps in code with. */
const isFiller = (instruction: Instruction): boolean => instruction.nop || isInt3(instruction)

/** Says how the function could come back to overwritten bytes; undefined: not in this way. */
type Rule = (attempt: Attempt) => string | undefined

/**
 * A function that calls itself last jumps to its entry instead, when its frame is gone: a true call with arguments like any other recursion. It is told
 * from a loop by what comes first and last: the entry saves a register that outlives calls, and the jump comes right behind its restoration. No compiler
 * puts what saves registers into a loop (GCC's shrink-wrap.cc, LLVM's ShrinkWrap.cpp), and what such a register holds at the entry is the caller's,
 * so that the push is no argument of a call in a loop.
 */
function isTailCall({ flow, offset, target }: Instruction, { code, instructions, start }: Attempt): boolean {
  if (flow !== 'jump' || (target !== 0 && target !== start)) return false
  const saved = keptRegister(code, start, 'push')
  const previous = instructions.find((one) => one.offset + one.length === offset)
  return saved !== undefined && previous !== undefined && keptRegister(code, previous.offset, 'pop') === saved
}

/** Jumps and branches inside the function. From 0: a jump to an `endbr64` runs into the overwritten bytes behind it. */
const noJumpBack: Rule = (attempt) => {
  const { instructions, start, end } = attempt
  const isInside = ({ flow, target }: Instruction) => target !== undefined && flow !== 'call' && target >= 0 && target < end
  const back = instructions.find((one) => isInside(one) && !isTailCall(one, attempt))
  if (back === undefined) return undefined
  const where = back.target === 0 || back.target === start ? 'its entry' : `offset ${back.target}`
  return `jumps back from offset ${back.offset} to ${where}, and bytes ${start} to ${end - 1} would be overwritten`
}

/** The same for jumps that are not to be seen in the code. */
const noIndirectJumpBack: Rule = ({ branchTargets, start, end }) => {
  const target = branchTargets.find((t) => t >= 0 && t < end)
  if (target === undefined) return undefined
  return `is jumped into at offset ${target} from a table or from elsewhere, and bytes ${start} to ${end - 1} would be overwritten`
}

/**
 * A call to the function's own entry is recursion: a true call with arguments, which may enter the new function. One into the middle of the
 * overwritten bytes is not. Neither is an address taken there: some code means to go there.
 */
const noCallInside: Rule = ({ instructions, start, end }) => {
  const inside = (target: number | undefined): boolean => target !== undefined && target > 0 && target < end && target !== start
  const caller = instructions.find(({ flow, target, ripTarget }) => (flow === 'call' && inside(target)) || inside(ripTarget))
  if (caller === undefined) return undefined
  return `refers from offset ${caller.offset} into the bytes ${start} to ${end - 1} that would be overwritten`
}

/**
 * A call among the overwritten instructions whose return address is among them too: a thread deep in the callee has that address
 * on its stack, where the guard, which knows instruction pointers, does not see it. A call that ends with or behind the overwritten
 * bytes returns to what stays.
 */
const noReturnInside: Rule = ({ lost, start, end }) => {
  const call = lost.find(({ flow, offset, length }) => (flow === 'call' || flow === 'call-indirect') && offset + length < end)
  if (call === undefined) return undefined
  return `calls at offset ${call.offset} and returns into the bytes ${start} to ${end - 1} that would be overwritten`
}

/**
 * A thread that waits in a system call has its instruction pointer behind the instruction; the kernel takes it back to the instruction's
 * beginning when the call is to be done again after a signal. `int n` may be a system call too. `int3` is none, but at the entry itself it
 * is a debugger's breakpoint, and what the function's code is there is not known.
 */
const noSystemCall: Rule = ({ lost, start }) => {
  const call = lost.find((i) => i.flow === 'system-call' || (i.flow === 'interrupt' && (!isInt3(i) || i.offset === start)))
  if (call === undefined) return undefined
  return `makes a system call or traps at offset ${call.offset}, which would be overwritten`
}

/**
 * A string instruction with a repeat prefix that is interrupted has its own address as instruction pointer, with rcx, rsi and rdi
 * already changed: at the entry it is not to be told from a thread that has executed nothing yet.
 */
const noResumable: Rule = ({ lost }) => {
  const found = lost.find(({ resumable }) => resumable)
  if (found === undefined) return undefined
  return `has at offset ${found.offset} an instruction that can be interrupted in its middle, and it would be overwritten`
}

const RULES: readonly Rule[] = [noJumpBack, noIndirectJumpBack, noCallInside, noReturnInside, noSystemCall, noResumable]

/** How to redirect a function, or why it cannot be. The first of FORMS that is there and safe. */
export function planRedirect(site: RedirectSite): RedirectPlan | RedirectRefusal {
  if (site.code.length < site.size)
    return { refused: 'UNDECODABLE', why: `has ${site.size} bytes, of which only ${site.code.length} are known` }
  const code = site.code.subarray(0, site.size)
  const { instructions, stoppedAt } = decode(code)
  // A jump back to the entry could be among what is not understood.
  if (stoppedAt !== undefined) return { refused: 'UNDECODABLE', why: `cannot be decoded at offset ${stoppedAt} of ${site.size}` }

  let refusal: RedirectRefusal | undefined
  for (const form of FORMS) {
    if (form.padding > 0 && !hasPadding(site, form.padding)) continue
    const outcome = tryForm(form, site, instructions)
    if (!('refused' in outcome)) return outcome
    // The first refusal is that of the form that asks least.
    refusal ??= outcome
  }
  return refusal as RedirectRefusal
}

function tryForm(form: Form, site: RedirectSite, instructions: readonly Instruction[]): RedirectPlan | RedirectRefusal {
  const start = patchOffset(site.code.subarray(0, site.size))
  const end = start + form.overwritten
  if (site.size < end) {
    const behind = start > 0 ? ' behind its endbr64' : ''
    const padding = form.padding > 0 ? '' : `, and there is no padding of ${NEAR_JUMP_SIZE} bytes before it`
    return {
      refused: 'FUNCTION_TOO_SHORT',
      why: `has ${site.size - start} bytes${behind}, a jump takes ${form.overwritten}${padding}`,
    }
  }
  const lost = instructions.filter(({ offset }) => offset >= start && offset < end)
  const attempt: Attempt = {
    code: site.code.subarray(0, site.size),
    instructions,
    branchTargets: site.branchTargets ?? [],
    start,
    end,
    lost,
  }
  for (const rule of RULES) {
    const why = rule(attempt)
    if (why !== undefined) return { refused: 'REDIRECT_UNSAFE', why }
  }
  const onlyNops = lost.every(({ nop }) => nop)
  const padded = form.padding > 0
  return {
    kind: onlyNops ? form.overNops : form.overCode,
    prepare: padded ? [{ offset: -form.padding, length: form.padding }] : [],
    switch: { offset: start, length: form.overwritten },
    guard: [{ start, end }],
    undoGuard: padded ? [{ start: -form.padding, end: 0 }] : [],
    safeWhileRunning: lost.length === 1,
  }
}

/**
 * Whether the last `count` bytes before the entry are padding that may be overwritten. That they belong to no function is the caller's
 * proof: 90 and CC may just as well be the end of the last instruction before them. Here is only seen to it that nobody uses them as
 * something else (data without a symbol, another tool's jump): some run of nops and int3 must end exactly at the entry and cover them.
 */
function hasPadding(site: RedirectSite, count: number): boolean {
  const proven = Math.min(site.padding, site.before.length)
  for (let length = count; length <= proven; length++) {
    const run = site.before.subarray(site.before.length - length)
    const { instructions, stoppedAt } = decode(run)
    if (stoppedAt === undefined && instructions.every(isFiller)) return true
  }
  return false
}

/**
 * Whether execution may run out of a function's end into what lies behind it, so that padding there is no padding. A call at the end does not
 * count: it is to a function that does not return, or the end would not be one. Code that cannot be decoded counts.
 */
export function fallsThrough(code: Uint8Array): boolean {
  const { instructions, stoppedAt } = decode(code)
  const last = instructions.findLast((instruction) => !isFiller(instruction))
  if (stoppedAt !== undefined || last === undefined) return true
  return !['jump', 'jump-indirect', 'return', 'call', 'call-indirect', 'trap', 'interrupt'].includes(last.flow)
}

/** Nops, zeros, int3: what assemblers fill gaps between functions with. */
export function isPadding(code: Uint8Array): boolean {
  if (code.every((b) => b === 0) || code.every((b) => b === 0xcc)) return true
  const { instructions, stoppedAt } = decode(code)
  return stoppedAt === undefined && instructions.every((i) => i.nop)
}

/** The plan's bytes for a function at `entry` and a stub at `stub`. Throws REDIRECT_OUT_OF_REACH. */
export function encodeRedirect(plan: RedirectPlan, entry: bigint, stub: bigint): EncodedRedirect {
  const address = entry + BigInt(plan.switch.offset)
  const place = Number(address & 7n)
  const atomic = place + plan.switch.length <= 8
  const pad = plan.prepare[0]
  if (pad === undefined) return { prepare: [], switch: { address, bytes: encodeNearJump(address, stub), atomic } }
  const padAddress = entry + BigInt(pad.offset)
  return {
    prepare: [{ address: padAddress, bytes: encodePadJump(pad.length, padAddress, stub) }],
    switch: { address, bytes: encodeShortJump(address, padAddress), atomic },
  }
}

const encodePadJump = (length: number, at: bigint, stub: bigint): Uint8Array =>
  length === POINTER_JUMP_SIZE ? encodePointerJump(at, stub + HPAT_POINTER_DISTANCE) : encodeNearJump(at, stub)

/**
 * The redirect that stands at an entry, by its form alone: a function whose own code begins with a jump looks the same, so compare the
 * target with the stubs there are. `before` as in RedirectSite; undefined: no redirect.
 */
export function recognizeRedirect(site: Pick<RedirectSite, 'before' | 'code'>): RecognizedRedirect | undefined {
  const offset = patchOffset(site.code)
  const view = new DataView(site.code.buffer, site.code.byteOffset, site.code.byteLength)
  if (site.code[offset] === 0xe9 && offset + NEAR_JUMP_SIZE <= site.code.length)
    return { offset, length: NEAR_JUMP_SIZE, target: offset + NEAR_JUMP_SIZE + view.getInt32(offset + 1, true) }
  if (site.code[offset] !== 0xeb || offset + SHORT_JUMP_SIZE > site.code.length) return undefined
  const first = offset + SHORT_JUMP_SIZE + view.getInt8(offset + 1)
  const at = site.before.length + first
  if (at < 0) return undefined
  const before = new DataView(site.before.buffer, site.before.byteOffset, site.before.byteLength)
  const found = { offset, length: SHORT_JUMP_SIZE }
  if (first === -NEAR_JUMP_SIZE && site.before[at] === 0xe9) return { ...found, target: before.getInt32(at + 1, true) }
  if (first === -POINTER_JUMP_SIZE && site.before[at] === 0xff && site.before[at + 1] === 0x25)
    return { ...found, target: before.getInt32(at + 2, true) - Number(HPAT_POINTER_DISTANCE) }
  return undefined
}
