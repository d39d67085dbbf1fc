/** Constants of Linux and structures of it on x86-64, named as in the kernel's and the C library's headers; ARM64's are in arm64.ts. */
import { bytes, i32, struct, u16, u32, u64 } from '../../binary/struct.ts'

/** sys/ptrace.h. */
export const PTRACE = {
  PEEKDATA: 2,
  POKEUSER: 6,
  CONT: 7,
  GETREGS: 12,
  SETREGS: 13,
  DETACH: 17,
  SYSCALL: 24,
  POKEDATA: 5,
  GETREGSET: 0x4204,
  SETREGSET: 0x4205,
  SEIZE: 0x4206,
  INTERRUPT: 0x4207,
  GETSIGMASK: 0x420a,
  SETSIGMASK: 0x420b,
  SECCOMP_GET_FILTER: 0x420c,
  GET_RSEQ_CONFIGURATION: 0x420f,
} as const

export const PTRACE_O = { TRACESYSGOOD: 1 } as const
/** In bits 16 and up of a stop's wait status. */
export const PTRACE_EVENT = { STOP: 128 } as const

/** elf.h: kinds of register sets. */
export const NT = { X86_XSTATE: 0x202 } as const

/** bits/waitflags.h. */
export const W = { NOHANG: 1, ALL: 0x40000000 } as const

/** asm/signal.h. */
export const SIG = { KILL: 9, CHLD: 17, STOP: 19, TRAP: 5, TSTP: 20, TTIN: 21, TTOU: 22 } as const

/** bits/sigaction.h: offsets in struct sigaction. */
export const SIGACTION = { size: 152, handler: 0, flags: 136 } as const

/** asm-generic/errno.h; the last three never leave the kernel except towards a tracer: how an interrupted call is to be restarted. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EEXIST: 17,
  EINVAL: 22,
  ENOSYS: 38,
  EOPNOTSUPP: 95,
  ERESTARTSYS: 512,
  ERESTARTNOINTR: 513,
  ERESTARTNOHAND: 514,
  ERESTART_RESTARTBLOCK: 516,
} as const

/** bits/mman-linux.h. */
export const PROT = { READ: 1, WRITE: 2, EXEC: 4 } as const
export const MAP = { PRIVATE: 0x02, FIXED_NOREPLACE: 0x100000 } as const

/** linux/memfd.h and linux/fcntl.h. */
export const MFD = { CLOEXEC: 1, ALLOW_SEALING: 2 } as const
export const F = { ADD_SEALS: 1033 } as const
export const F_SEAL = { SEAL: 1, SHRINK: 2, GROW: 4, WRITE: 8 } as const

/** sys/file.h. */
export const LOCK = { EX: 2, NB: 4 } as const

/** linux/seccomp.h: a filter's answers, as signed numbers from the strictest to the mildest. */
export const SECCOMP_RET = {
  KILL_PROCESS: 0x80000000 | 0,
  KILL_THREAD: 0,
  TRAP: 0x00030000,
  ERRNO: 0x00050000,
  USER_NOTIF: 0x7fc00000,
  TRACE: 0x7ff00000,
  LOG: 0x7ffc0000,
  ALLOW: 0x7fff0000,
  ACTION_FULL: 0xffff0000 | 0,
} as const

/** linux/bpf_common.h, linux/filter.h: fields and values of an instruction's code. */
export const BPF = {
  CLASS: 0x07,
  LD: 0x00,
  LDX: 0x01,
  ST: 0x02,
  STX: 0x03,
  ALU: 0x04,
  JMP: 0x05,
  RET: 0x06,
  MODE: 0xe0,
  IMM: 0x00,
  ABS: 0x20,
  MEM: 0x60,
  LEN: 0x80,
  OPERATION: 0xf0,
  ADD: 0x00,
  SUB: 0x10,
  MUL: 0x20,
  DIV: 0x30,
  OR: 0x40,
  AND: 0x50,
  LSH: 0x60,
  RSH: 0x70,
  NEG: 0x80,
  MOD: 0x90,
  XOR: 0xa0,
  JA: 0x00,
  JEQ: 0x10,
  JGT: 0x20,
  JGE: 0x30,
  JSET: 0x40,
  X: 0x08,
  RVAL: 0x18,
  A: 0x10,
  OPERATION_MISC: 0xf8,
  TAX: 0x00,
  TXA: 0x80,
} as const

/** linux/auxvec.h. */
export const AT = { NULL: 0, PHDR: 3, PAGESZ: 6 } as const

/** sys/user.h: what PTRACE_GETREGS fills. */
export const UserRegs = struct('user_regs_struct', {
  r15: u64,
  r14: u64,
  r13: u64,
  r12: u64,
  rbp: u64,
  rbx: u64,
  r11: u64,
  r10: u64,
  r9: u64,
  r8: u64,
  rax: u64,
  rcx: u64,
  rdx: u64,
  rsi: u64,
  rdi: u64,
  orig_rax: u64,
  rip: u64,
  cs: u64,
  eflags: u64,
  rsp: u64,
  ss: u64,
  fs_base: u64,
  gs_base: u64,
  ds: u64,
  es: u64,
  fs: u64,
  gs: u64,
})

/** The code segment of 64-bit user programs. */
export const USER_CS = 0x33n

/** linux/uio.h. */
export const Iovec = struct('iovec', { iov_base: u64, iov_len: u64 })

/** linux/ptrace.h: answer to PTRACE_GET_RSEQ_CONFIGURATION. */
export const RseqConfiguration = struct('ptrace_rseq_configuration', {
  rseq_abi_pointer: u64,
  rseq_abi_size: u32,
  signature: u32,
  flags: u32,
  pad: u32,
})
/** linux/rseq.h: where `struct rseq` points to the critical section that the thread is in. */
export const RSEQ_CS_OFFSET = 8
export const RseqCs = struct('rseq_cs', {
  version: u32,
  flags: u32,
  start_ip: u64,
  post_commit_offset: u64,
  abort_ip: u64,
})

/** asm/sigcontext.h, 64-bit. */
export const Sigcontext = struct('sigcontext', {
  r8: u64,
  r9: u64,
  r10: u64,
  r11: u64,
  r12: u64,
  r13: u64,
  r14: u64,
  r15: u64,
  rdi: u64,
  rsi: u64,
  rbp: u64,
  rbx: u64,
  rdx: u64,
  rax: u64,
  rcx: u64,
  rsp: u64,
  rip: u64,
  eflags: u64,
  cs: u16,
  gs: u16,
  fs: u16,
  ss: u16,
  err: u64,
  trapno: u64,
  oldmask: u64,
  cr2: u64,
  fpstate: u64,
  reserved1: bytes(64),
})

/** asm/ucontext.h. */
export const UC = { FP_XSTATE: 1, SIGCONTEXT_SS: 2, STRICT_RESTORE_SS: 4 } as const

/** What lies on the stack while a signal handler runs, and what rt_sigreturn takes everything back from. */
export const RtSigframe = struct('rt_sigframe', {
  pretcode: u64,
  uc_flags: u64,
  uc_link: u64,
  ss_sp: u64,
  ss_flags: i32,
  ss_pad: u32,
  ss_size: u64,
  uc_mcontext: Sigcontext,
  uc_sigmask: u64,
  info: bytes(128),
})

/** asm/sigcontext.h: what a signal frame's extended state has in bytes 464 to 511, which the processor leaves to software. */
export const FpxSwBytes = struct('_fpx_sw_bytes', {
  magic1: u32,
  extended_size: u32,
  xfeatures: u64,
  xstate_size: u32,
  padding: bytes(28),
})
export const FPX_SW_BYTES_OFFSET = 464
export const FP_XSTATE_MAGIC1 = 0x46505853
export const FP_XSTATE_MAGIC2 = 0x46505845
/** The first bytes of the XSAVE header: which components the area holds. */
export const XSTATE_BV_OFFSET = 512
/** Intel SDM volume 1, 13.1: the one component that the kernel gives a thread only on demand, and the last one of the area. */
export const XFEATURE_XTILE_DATA = 18n
export const XTILE_DATA_SIZE = 8192
