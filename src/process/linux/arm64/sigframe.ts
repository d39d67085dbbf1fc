/**
 * The way back for a borrowed thread without us, as x64/sigframe.ts has it. Here the address to return to is in x30, and the frame lies at the
 * stack pointer itself. Layout as in arch/arm64/kernel/signal.c.
 */
import { viewOf } from '../../../binary/struct.ts'
import {
  Aarch64Ctx,
  FPSIMD,
  FPSIMD_CONTEXT,
  FPSIMD_MAGIC,
  RtSigframeArm64,
  SVE_MAGIC,
  SVE_PT_REGS_SVE,
  SveContext,
  sveRegistersSize,
  UserSveHeader,
} from '../../../os/linux/arm64.ts'
import { type BackFrame, SCRATCH_SIZE } from '../machine.ts'

/** What is kept of a thread. */
export interface SavedThread {
  /** struct user_pt_regs, as it shall go on. */
  readonly words: BigUint64Array
  /** struct user_fpsimd_state. */
  readonly fpsimd: Uint8Array
  /** As PTRACE_GETREGSET NT_ARM_SVE gives it, at the length it gave; undefined: the processor has no SVE. */
  readonly sve: Uint8Array | undefined
  readonly signalMask: bigint
}

/** How many bytes a frame needs at most. */
export const FRAME_SIZE = RtSigframeArm64.size + SCRATCH_SIZE + 32

const EXTRA = RtSigframeArm64.size - RtSigframeArm64.offsets.reserved
const align16 = (size: number): number => (size + 15) & ~15

/** The vector length in bytes, where the registers are at work in SVE's form: then they are more than FPSIMD's. */
export function sveVectors(sve: Uint8Array | undefined): number | undefined {
  if (sve === undefined) return undefined
  const { flags, vl } = UserSveHeader.readAt(sve, 0)
  return (flags & SVE_PT_REGS_SVE) === 0 ? undefined : vl
}

const sveRecordSize = (vl: number): number => align16(SveContext.size + sveRegistersSize(vl))

/** Whether a frame has room for it: 512-bit vectors and below. */
export function fitsFrame(sve: Uint8Array | undefined): boolean {
  const vl = sveVectors(sve)
  return vl === undefined || FPSIMD_CONTEXT.size + sveRecordSize(vl) + Aarch64Ctx.size <= EXTRA
}

/** @param top the frame ends here or below */
export function makeFrame(state: SavedThread, top: bigint): BackFrame {
  const scratch = (top - BigInt(SCRATCH_SIZE)) & ~15n
  const address = (scratch - BigInt(RtSigframeArm64.size)) & ~15n
  const bytes = new Uint8Array(Number(scratch - address) + SCRATCH_SIZE)
  RtSigframeArm64.write(viewOf(bytes), 0, {
    info: new Uint8Array(128),
    uc_flags: 0n,
    uc_link: 0n,
    // sigreturn also sets the alternate signal stack, which a tracer cannot see. A mode that does not exist makes it leave that as it is.
    ss_sp: 0n,
    ss_flags: 0x40,
    ss_pad: 0,
    ss_size: 0n,
    uc_sigmask: state.signalMask,
    unused: new Uint8Array(120),
    padding: new Uint8Array(8),
    fault_address: 0n,
    regs: new Uint8Array(state.words.buffer, state.words.byteOffset, state.words.byteLength),
    alignment: new Uint8Array(8),
    reserved: extraState(state),
  })
  return { bytes, address, stackPointer: address, scratch }
}

/** A record for each kind of registers; one of zeros ends them. */
function extraState({ fpsimd, sve }: SavedThread): Uint8Array {
  const extra = new Uint8Array(EXTRA)
  const view = viewOf(extra)
  Aarch64Ctx.write(view, 0, { magic: FPSIMD_MAGIC, size: FPSIMD_CONTEXT.size })
  extra.set(fpsimd.subarray(FPSIMD.fpsr, FPSIMD.fpsr + 4), FPSIMD_CONTEXT.fpsr)
  extra.set(fpsimd.subarray(FPSIMD.fpcr, FPSIMD.fpcr + 4), FPSIMD_CONTEXT.fpcr)
  extra.set(fpsimd.subarray(0, FPSIMD.fpsr), FPSIMD_CONTEXT.vregs)
  const vl = sveVectors(sve)
  if (sve !== undefined && vl !== undefined) {
    const at = FPSIMD_CONTEXT.size
    SveContext.write(view, at, { magic: SVE_MAGIC, size: sveRecordSize(vl), vl, flags: 0, reserved: 0 })
    extra.set(sve.subarray(UserSveHeader.size, UserSveHeader.size + sveRegistersSize(vl)), at + SveContext.size)
  }
  return extra
}
