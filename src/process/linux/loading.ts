/**
 * System calls that a C library makes when it loads a module, and those for a file without a name. A seccomp filter may answer one with the end of the
 * process, so they are held against it before a function is called that makes them.
 */
import type { SyscallName } from '../../os/linux/syscalls.ts'
import type { Target } from './borrow.ts'
import { inProcessFolder, parseStatus, readProc } from './proc.ts'
import { RemoteSyscalls } from './remote-syscall.ts'

/** asm-generic/mman-common.h. */
const [PROT_READ, MAP_PRIVATE] = [1n, 2n]
const AT_FDCWD = BigInt.asUintN(64, -100n)

const CALLS: readonly (readonly [SyscallName, ...bigint[]])[] = [
  ['memfd_create'],
  ['pwrite64'],
  ['openat', AT_FDCWD],
  ['read'],
  ['pread64'],
  ['fstat'],
  ['newfstatat'],
  ['mmap', 0n, 4096n, PROT_READ, MAP_PRIVATE],
  ['mprotect', 0n, 4096n, PROT_READ],
  ['munmap'],
  ['brk'],
  ['close'],
]

/** Throws MAPPING_REFUSED with the first of them that a filter does not let happen; NO_SAFE_THREAD, PROCESS_GONE, PROCESS_TRACED, PERMISSION_DENIED. */
export function requireLoading(target: Target): void {
  if (parseStatus(inProcessFolder(target.pid, (folder) => readProc(`${folder}/status`)) ?? '').get('Seccomp') === '0') return
  const calls = new RemoteSyscalls(target)
  try {
    for (const [name, ...args] of CALLS) calls.require(name, ...args)
  } finally {
    calls.giveBack()
  }
}
