/**
 * The way back for a thread that was borrowed, without us.
 *
 * While a thread makes a system call for us, its own registers are nowhere but in our memory. Should hotpatch be killed in that
 * moment, the kernel lets the thread run on from where it is. So before its registers are changed, what a signal handler would have
 * below it is put on its stack: all its registers, as the kernel itself would save them, and on top the address that handlers return
 * to. The borrowed `syscall` is followed by a `ret`, the `ret` leads to `rt_sigreturn`, and the kernel takes everything back from
 * there: general registers, vector registers, signal mask, and an interrupted system call starts anew.
 * In the ordinary case none of this runs.
 *
 * Layout as in arch/x86/kernel/signal_64.c and arch/x86/kernel/fpu/signal.c.
 */

import { type Of, viewOf } from '../../../binary/struct.ts'
import {
  ERRNO,
  FP_XSTATE_MAGIC1,
  FP_XSTATE_MAGIC2,
  FPX_SW_BYTES_OFFSET,
  FpxSwBytes,
  RtSigframe,
  UC,
  type UserRegs,
  XFEATURE_XTILE_DATA,
  XSTATE_BV_OFFSET,
  XTILE_DATA_SIZE,
} from '../../../os/linux/definitions.ts'
import { type BackFrame, SCRATCH_SIZE } from '../machine.ts'
import { isBrokenByStops } from './restart.ts'

export type Registers = Of<typeof UserRegs>

export interface SavedThread {
  readonly registers: Registers
  /** As PTRACE_GETREGSET NT_X86_XSTATE gives it, at the length it gave. */
  readonly xstate: Uint8Array
  readonly signalMask: bigint
}

/** What the ABI lets a function use below its stack pointer. */
export const RED_ZONE = 128n
const MAGIC2_SIZE = 4

/** How many bytes a frame needs at most. */
export const frameSize = (xstate: Uint8Array): number => RtSigframe.size + 16 + 64 + xstate.length + MAGIC2_SIZE + SCRATCH_SIZE + 16

/**
 * @param top the frame ends here or below
 * @param restorer what the call returns to; 0 where there is nothing
 */
export function makeFrame(state: SavedThread, top: bigint, restorer: bigint): BackFrame {
  const area = extendedArea(state.xstate)
  const scratch = (top - BigInt(SCRATCH_SIZE)) & ~15n
  const fpstate = (scratch - BigInt(area.length)) & ~63n
  // As at the entry of a function: the stack pointer would be a multiple of 16 had the address to return to not been pushed.
  const stackPointer = ((fpstate - BigInt(RtSigframe.size)) & ~15n) - 8n
  const bytes = new Uint8Array(Number(scratch - stackPointer) + SCRATCH_SIZE)
  RtSigframe.write(viewOf(bytes), 0, rtSigframe(state, fpstate, restorer))
  bytes.set(area, Number(fpstate - stackPointer))
  return { bytes, address: stackPointer, stackPointer, scratch }
}

/** An XSAVE area in the form in which a signal frame has it. */
function extendedArea(xstate: Uint8Array): Uint8Array {
  const view = viewOf(xstate)
  // The kernel gives XCR0, the components that the system has switched on, in the bytes where a frame has its magic.
  const enabled = view.getBigUint64(FPX_SW_BYTES_OFFSET, true)
  const used = view.getBigUint64(XSTATE_BV_OFFSET, true)
  const tile = 1n << XFEATURE_XTILE_DATA
  // A thread that never asked for AMX has a smaller area, and the kernel refuses a frame with a larger one.
  const withoutTile = (enabled & tile) !== 0n && (used & tile) === 0n
  const size = xstate.length - (withoutTile ? XTILE_DATA_SIZE : 0)
  const area = new Uint8Array(size + MAGIC2_SIZE)
  area.set(xstate.subarray(0, size))
  FpxSwBytes.write(viewOf(area), FPX_SW_BYTES_OFFSET, {
    magic1: FP_XSTATE_MAGIC1,
    extended_size: area.length,
    xfeatures: withoutTile ? enabled & ~tile : enabled,
    xstate_size: size,
    padding: new Uint8Array(28),
  })
  viewOf(area).setUint32(size, FP_XSTATE_MAGIC2, true)
  return area
}

function rtSigframe(state: SavedThread, fpstate: bigint, restorer: bigint): Of<typeof RtSigframe> {
  const registers = restartingCall(state.registers)
  return {
    pretcode: restorer,
    uc_flags: BigInt(UC.FP_XSTATE | UC.SIGCONTEXT_SS | UC.STRICT_RESTORE_SS),
    uc_link: 0n,
    // sigreturn also sets the alternate signal stack, which a tracer cannot see. A mode that does not exist makes it leave that as it is.
    ss_sp: 0n,
    ss_flags: 0x40,
    ss_pad: 0,
    ss_size: 0n,
    uc_mcontext: {
      ...pick(registers),
      cs: Number(registers.cs),
      gs: Number(registers.gs),
      fs: Number(registers.fs),
      ss: Number(registers.ss),
      err: 0n,
      trapno: 0n,
      oldmask: state.signalMask,
      cr2: 0n,
      fpstate,
      reserved1: new Uint8Array(64),
    },
    uc_sigmask: state.signalMask,
    info: new Uint8Array(128),
  }
}

function pick(registers: Registers) {
  const { r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags } = registers
  return { r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags }
}

const RESTARTED: readonly bigint[] = [
  ERRNO.ERESTARTSYS,
  ERRNO.ERESTARTNOINTR,
  ERRNO.ERESTARTNOHAND,
  // Its bookkeeping does not survive rt_sigreturn, which would make it EINTR. Started anew, a relative timeout counts from the start.
  ERRNO.ERESTART_RESTARTBLOCK,
].map((code) => BigInt.asUintN(64, -BigInt(code)))

/** As arch_do_signal_or_restart: back on the `syscall` instruction (2 bytes), with its number in rax. */
export function restartingCall(registers: Registers): Registers {
  const interrupted = BigInt.asIntN(64, registers.orig_rax) >= 0n && (RESTARTED.includes(registers.rax) || isBrokenByStops(registers))
  return interrupted ? { ...registers, rax: registers.orig_rax, rip: registers.rip - 2n } : registers
}
