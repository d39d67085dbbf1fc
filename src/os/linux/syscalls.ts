/** What the kernel numbers and lays out by processor: system calls, struct stat. A backend runs on the processor of the processes that it opens. */

/** asm/unistd_64.h. */
const X64 = {
  read: 0,
  close: 3,
  fstat: 5,
  poll: 7,
  mmap: 9,
  mprotect: 10,
  munmap: 11,
  brk: 12,
  rt_sigreturn: 15,
  pread64: 17,
  pwrite64: 18,
  select: 23,
  pause: 34,
  nanosleep: 35,
  accept: 43,
  recvfrom: 45,
  recvmsg: 47,
  wait4: 61,
  semop: 65,
  rt_sigtimedwait: 128,
  gettid: 186,
  futex: 202,
  io_getevents: 208,
  restart_syscall: 219,
  semtimedop: 220,
  timer_create: 222,
  timer_settime: 223,
  clock_nanosleep: 230,
  epoll_wait: 232,
  waitid: 247,
  openat: 257,
  newfstatat: 262,
  pselect6: 270,
  ppoll: 271,
  epoll_pwait: 281,
  accept4: 288,
  memfd_create: 319,
  io_pgetevents: 333,
  epoll_pwait2: 441,
} as const

export type SyscallName = keyof typeof X64

/** Of a call that a processor's Linux does not have: no call has it. */
const NONE = 0xffff

/** asm-generic/unistd.h. */
const ARM64: Readonly<Record<SyscallName, number>> = {
  read: 63,
  close: 57,
  fstat: 80,
  poll: NONE,
  mmap: 222,
  mprotect: 226,
  munmap: 215,
  brk: 214,
  rt_sigreturn: 139,
  pread64: 67,
  pwrite64: 68,
  select: NONE,
  pause: NONE,
  nanosleep: 101,
  futex: 98,
  accept: 202,
  recvfrom: 207,
  recvmsg: 212,
  wait4: 260,
  semop: 193,
  rt_sigtimedwait: 137,
  gettid: 178,
  io_getevents: 4,
  restart_syscall: 128,
  semtimedop: 192,
  timer_create: 107,
  timer_settime: 110,
  clock_nanosleep: 115,
  epoll_wait: NONE,
  waitid: 95,
  openat: 56,
  newfstatat: 79,
  pselect6: 72,
  ppoll: 73,
  epoll_pwait: 22,
  accept4: 242,
  memfd_create: 279,
  io_pgetevents: 292,
  epoll_pwait2: 441,
}

const isArm64 = process.arch === 'arm64'

export const SYS: Readonly<Record<SyscallName, number>> = isArm64 ? ARM64 : X64

/** asm/stat.h: the size of struct stat, where its st_nlink lies. */
export const STAT = isArm64 ? { size: 128, nlink: 20 } : { size: 144, nlink: 16 }

/** linux/audit.h. */
export const AUDIT_ARCH = isArm64 ? 0xc00000b7 : 0xc000003e

/** One past the highest address that a program has, unless it asks the kernel for higher ones. */
export const ADDRESS_END = isArm64 ? 1n << 48n : 1n << 47n
