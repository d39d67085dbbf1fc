/**
 * Machine code that hotpatch itself puts into a process, each line with its assembly beside it (Intel syntax, as iced writes it;
 * a test holds the two together). All of it is position-independent.
 */
import { HotpatchError } from '../../errors.ts'

/** One instruction: its bytes and its assembly. */
export interface Line {
  readonly bytes: readonly number[]
  readonly assembly: string
}

const line = (bytes: readonly number[], assembly: string): Line => ({ bytes, assembly })

export const assemble = (lines: readonly Line[]): Uint8Array => Uint8Array.from(lines.flatMap((l) => [...l.bytes]))

const PAGE_SIZE = 4096

/** A stub of the hotpatch address table: jumps through the pointer exactly one page behind it. */
export const HPAT_STUB: readonly Line[] = [
  // From the end of the jump, 6 bytes into the stub, to the pointer 0x1000 bytes behind the stub's start.
  line([0xff, 0x25, 0xfa, 0x0f, 0x00, 0x00], 'jmp qword ptr [rip+0FFAh]'),
  line([0xcc], 'int3'),
  line([0xcc], 'int3'),
]

export const HPAT_STUB_SIZE = 8
/** From a stub to the pointer that it jumps through. */
export const HPAT_POINTER_DISTANCE = 0x1000n

/** A code page of 512 stubs. The page behind it holds their 512 pointers: pointer i is at 8 i. */
export function hpatCodePage(): Uint8Array {
  const page = new Uint8Array(PAGE_SIZE)
  const stub = assemble(HPAT_STUB)
  for (let at = 0; at < PAGE_SIZE; at += HPAT_STUB_SIZE) page.set(stub, at)
  return page
}

/** `jmp short`: 2 bytes, reaches -128..127 bytes from its end. */
export const SHORT_JUMP_SIZE = 2
/** `jmp rel32`: 5 bytes, reaches -2 GB..2 GB-1 from its end. */
export const NEAR_JUMP_SIZE = 5
/** `jmp [rip+rel32]`. */
export const POINTER_JUMP_SIZE = 6

/** Distance for a relative operand of `bits` bits; undefined: it does not reach. */
function distance(end: bigint, target: bigint, bits: 8 | 32): number | undefined {
  const value = target - end
  return BigInt.asIntN(bits, value) === value ? Number(value) : undefined
}

const outOfReach = (from: bigint, target: bigint): HotpatchError =>
  new HotpatchError('REDIRECT_OUT_OF_REACH', `a jump at 0x${from.toString(16)} does not reach 0x${target.toString(16)}`, {
    facts: { from: `0x${from.toString(16)}`, target: `0x${target.toString(16)}` },
  })

const little32 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >> 24) & 0xff]

/** `EB rel8`: jmp short target. Throws REDIRECT_OUT_OF_REACH. */
export function encodeShortJump(at: bigint, target: bigint): Uint8Array {
  const rel = distance(at + BigInt(SHORT_JUMP_SIZE), target, 8)
  if (rel === undefined) throw outOfReach(at, target)
  return Uint8Array.of(0xeb, rel & 0xff)
}

/** `E9 rel32`: jmp target. Throws REDIRECT_OUT_OF_REACH. */
export function encodeNearJump(at: bigint, target: bigint): Uint8Array {
  const rel = distance(at + BigInt(NEAR_JUMP_SIZE), target, 32)
  if (rel === undefined) throw outOfReach(at, target)
  return Uint8Array.of(0xe9, ...little32(rel))
}

/** `FF 25 rel32`: jmp qword ptr [rip+rel32], through the pointer at `slot`. Throws REDIRECT_OUT_OF_REACH. */
export function encodePointerJump(at: bigint, slot: bigint): Uint8Array {
  const rel = distance(at + BigInt(POINTER_JUMP_SIZE), slot, 32)
  if (rel === undefined) throw outOfReach(at, slot)
  return Uint8Array.of(0xff, 0x25, ...little32(rel))
}

/**
 * A Windows thread's start routine: calls one function with up to eight arguments and keeps its result. The thread's parameter (rcx) is
 * the address of a REMOTE_CALL_BLOCK. It returns 0 and so ends the thread.
 *
 * The Windows x64 convention: rbx belongs to the caller; a called function finds rsp 8 below a multiple of 16 and 32 bytes of home space
 * above its return address, and above that what comes behind the fourth argument. It has no unwind data: an exception that leaves the called function ends the process.
 */
export const REMOTE_CALL: readonly Line[] = [
  line([0x53], 'push rbx'),
  line([0x48, 0x83, 0xec, 0x40], 'sub rsp,40h'),
  line([0x48, 0x89, 0xcb], 'mov rbx,rcx'),
  line([0x48, 0x8b, 0x43, 0x28], 'mov rax,[rbx+28h]'),
  line([0x48, 0x89, 0x44, 0x24, 0x20], 'mov [rsp+20h],rax'),
  line([0x48, 0x8b, 0x43, 0x30], 'mov rax,[rbx+30h]'),
  line([0x48, 0x89, 0x44, 0x24, 0x28], 'mov [rsp+28h],rax'),
  line([0x48, 0x8b, 0x43, 0x38], 'mov rax,[rbx+38h]'),
  line([0x48, 0x89, 0x44, 0x24, 0x30], 'mov [rsp+30h],rax'),
  line([0x48, 0x8b, 0x43, 0x40], 'mov rax,[rbx+40h]'),
  line([0x48, 0x89, 0x44, 0x24, 0x38], 'mov [rsp+38h],rax'),
  line([0x48, 0x8b, 0x03], 'mov rax,[rbx]'),
  line([0x48, 0x8b, 0x4b, 0x08], 'mov rcx,[rbx+8]'),
  line([0x48, 0x8b, 0x53, 0x10], 'mov rdx,[rbx+10h]'),
  line([0x4c, 0x8b, 0x43, 0x18], 'mov r8,[rbx+18h]'),
  line([0x4c, 0x8b, 0x4b, 0x20], 'mov r9,[rbx+20h]'),
  line([0xff, 0xd0], 'call rax'),
  line([0x48, 0x89, 0x43, 0x48], 'mov [rbx+48h],rax'),
  line([0x48, 0xc7, 0x43, 0x50, 0x01, 0x00, 0x00, 0x00], 'mov qword ptr [rbx+50h],1'),
  line([0x31, 0xc0], 'xor eax,eax'),
  line([0x48, 0x83, 0xc4, 0x40], 'add rsp,40h'),
  line([0x5b], 'pop rbx'),
  line([0xc3], 'ret'),
]

/**
 * The same with up to four arguments, as a function of the System V convention: its own argument (rdi) is the address of a REMOTE_CALL_BLOCK. A called function finds
 * rsp 8 below a multiple of 16; rbx belongs to the caller. It has no unwind data either.
 */
export const REMOTE_CALL_SYSV: readonly Line[] = [
  line([0x53], 'push rbx'),
  line([0x48, 0x89, 0xfb], 'mov rbx,rdi'),
  line([0x48, 0x8b, 0x03], 'mov rax,[rbx]'),
  line([0x48, 0x8b, 0x7b, 0x08], 'mov rdi,[rbx+8]'),
  line([0x48, 0x8b, 0x73, 0x10], 'mov rsi,[rbx+10h]'),
  line([0x48, 0x8b, 0x53, 0x18], 'mov rdx,[rbx+18h]'),
  line([0x48, 0x8b, 0x4b, 0x20], 'mov rcx,[rbx+20h]'),
  line([0xff, 0xd0], 'call rax'),
  line([0x48, 0x89, 0x43, 0x48], 'mov [rbx+48h],rax'),
  line([0x48, 0xc7, 0x43, 0x50, 0x01, 0x00, 0x00, 0x00], 'mov qword ptr [rbx+50h],1'),
  line([0x5b], 'pop rbx'),
  line([0xc3], 'ret'),
]

/** A system call, as a debugger makes a stopped thread execute one: found in the target's own code, nothing has to be written. */
export const SYSCALL_GADGET: readonly Line[] = [line([0x0f, 0x05], 'syscall')]

/** Calls the function in rax and stops there: what a debugger makes a stopped thread execute. */
export const CALL_GADGET: readonly Line[] = [line([0xff, 0xd0], 'call rax'), line([0xcc], 'int3')]

/**
 * Where the gadget's bytes stand in executable memory, from the start of `code`; undefined: nowhere. They need not be at the start of an
 * instruction of the code they are found in: a thread that is set there executes the gadget all the same.
 */
export function findGadget(code: Uint8Array, gadget: readonly Line[]): number | undefined {
  const at = Buffer.from(code.buffer, code.byteOffset, code.byteLength).indexOf(assemble(gadget))
  return at < 0 ? undefined : at
}
