/** Structures and numbers of Linux on ARM64, named as in the kernel's headers. What is the same everywhere stands in definitions.ts. */
import { bytes, i32, struct, u16, u32, u64 } from '../../binary/struct.ts'

/** linux/elf.h: kinds of register sets. */
export const NT_ARM64 = {
  PRSTATUS: 1,
  PRFPREG: 2,
  ARM_TLS: 0x401,
  ARM_SYSTEM_CALL: 0x404,
  ARM_SVE: 0x405,
  ARM_SSVE: 0x40b,
} as const

/** asm/ptrace.h: struct user_pt_regs, what NT_PRSTATUS is: x0 to x30, sp, pc, pstate; by 8-byte words. */
export const USER_PT_REGS = { words: 34, sp: 31, pc: 32, pstate: 33 } as const
export const USER_PT_REGS_SIZE = 8 * USER_PT_REGS.words

/** asm/ptrace.h: in pstate. BTYPE: the last instruction was an indirect branch, the next must be a landing pad. */
export const PSR = { BTYPE_MASK: 0xc00n, SS: 1n << 21n } as const

/** What NT_ARM_SYSTEM_CALL holds outside of system calls (arch/arm64/include/asm/ptrace.h: NO_SYSCALL). */
export const NO_SYSCALL = -1

/** asm/ptrace.h: struct user_fpsimd_state: 32 registers of 16 bytes, fpsr, fpcr. */
export const FPSIMD = { size: 528, fpsr: 512, fpcr: 516 } as const

/** asm/ptrace.h: what NT_ARM_SVE begins with. */
export const UserSveHeader = struct('user_sve_header', { size: u32, max_size: u32, vl: u16, max_vl: u16, flags: u16, reserved: u16 })
/** In its flags: the registers follow in SVE's form, not as struct user_fpsimd_state. */
export const SVE_PT_REGS_SVE = 1

/** asm/sigcontext.h: what starts each record of a signal frame's extra state. */
export const Aarch64Ctx = struct('_aarch64_ctx', { magic: u32, size: u32 })
export const FPSIMD_MAGIC = 0x46508001
export const SVE_MAGIC = 0x53564501
/** struct fpsimd_context: head, fpsr, fpcr, registers. */
export const FPSIMD_CONTEXT = { size: 528, fpsr: 8, fpcr: 12, vregs: 16 } as const
/** struct sve_context: head, vector length, flags; then the registers as NT_ARM_SVE has them: Z, P, FFR. */
export const SveContext = struct('sve_context', { magic: u32, size: u32, vl: u16, flags: u16, reserved: u32 })
/** Bytes of Z0 to Z31, P0 to P15 and FFR with vectors of `vl` bytes. */
export const sveRegistersSize = (vl: number): number => 32 * vl + 17 * (vl / 8)

/** asm/sigcontext.h, asm/ucontext.h, arch/arm64/kernel/signal.c: what lies at the stack pointer while a signal handler runs. */
export const RtSigframeArm64 = struct('rt_sigframe', {
  info: bytes(128),
  uc_flags: u64,
  uc_link: u64,
  ss_sp: u64,
  ss_flags: i32,
  ss_pad: u32,
  ss_size: u64,
  uc_sigmask: u64,
  unused: bytes(120),
  /** To a multiple of 16. */
  padding: bytes(8),
  fault_address: u64,
  regs: bytes(USER_PT_REGS_SIZE),
  alignment: bytes(8),
  reserved: bytes(4096),
})
