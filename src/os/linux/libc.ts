/**
 * The C library's calls. Each returns what the call returned; after a failure `errno()` has the reason.
 * Addresses of our own memory (`Pinned`) and of the target's fit in 47 bits, so they go as numbers, which koffi passes without
 * allocating: nothing here makes garbage.
 */
import koffi from 'koffi'
import { HotpatchError } from '../../errors.ts'

function open(): ReturnType<typeof koffi.load> {
  // glibc's name, then musl's.
  let cause: unknown
  for (const name of ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1']) {
    try {
      return koffi.load(name)
    } catch (error) {
      cause ??= error
    }
  }
  throw new HotpatchError('PROCESS_UNSUPPORTED', 'the C library of this system cannot be loaded', { cause })
}

const library = open()

/** A long as one number: the calls here return counts and small codes, which are safe integers. */
const LONG = 'int64_t'
const ADDRESS = 'int64_t'

interface Libc {
  ptrace(request: number, tid: number, address: number, data: number): number
  waitpid(pid: number, status: number, options: number): number
  pread(fd: number, buffer: number, length: number, offset: number): number
  pwrite(fd: number, buffer: number, length: number, offset: number): number
  process_vm_readv(pid: number, local: number, localCount: number, remote: number, remoteCount: number, flags: number): number
  nanosleep(request: number, remaining: number): number
  flock(fd: number, operation: number): number
  fcntl(fd: number, command: number, argument: number): number
  sched_getscheduler(tid: number): number
  sched_getparam(tid: number, parameter: number): number
  sched_setscheduler(tid: number, policy: number, parameter: number): number
  sigaction(signal: number, action: number, old: number): number
  syscall(number: number, first: number, second: number, third: number, fourth: number): number
}

export const libc: Libc = {
  // Variadic in C; on x86-64 integers are passed alike either way, and on ARM64 Linux too.
  ptrace: library.func('ptrace', LONG, ['int', 'int', ADDRESS, ADDRESS]),
  waitpid: library.func('waitpid', 'int', ['int', ADDRESS, 'int']),
  pread: library.func('pread', LONG, ['int', ADDRESS, 'size_t', 'int64_t']),
  pwrite: library.func('pwrite', LONG, ['int', ADDRESS, 'size_t', 'int64_t']),
  process_vm_readv: library.func('process_vm_readv', LONG, ['int', ADDRESS, 'ulong', ADDRESS, 'ulong', 'ulong']),
  nanosleep: library.func('nanosleep', 'int', [ADDRESS, ADDRESS]),
  flock: library.func('flock', 'int', ['int', 'int']),
  fcntl: library.func('fcntl', 'int', ['int', 'int', ADDRESS]),
  sched_getscheduler: library.func('sched_getscheduler', 'int', ['int']),
  sched_getparam: library.func('sched_getparam', 'int', ['int', ADDRESS]),
  sched_setscheduler: library.func('sched_setscheduler', 'int', ['int', 'int', ADDRESS]),
  sigaction: library.func('sigaction', 'int', ['int', ADDRESS, ADDRESS]),
  syscall: library.func('syscall', LONG, [LONG, LONG, LONG, LONG, LONG]),
}

/** The address in our own process of a function of the C library. */
export const symbolAddress = (name: string): number => Number(library.symbol(name))

/** Of the last call that failed. Must be asked before anything else runs. */
export const errno = (): number => koffi.errno()

const names = new Map(Object.entries(koffi.os.errno).map(([name, value]) => [value, name]))
/** `EPERM` for 1. */
export const errnoName = (value: number): string => names.get(value) ?? `errno ${value}`

/** Memory of ours that the kernel fills: it never moves, and its address is known. */
export interface Pinned {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly address: number
}

export function pinned(length: number): Pinned {
  // An ArrayBuffer's memory lies outside of the collected heap, so it stays where it is as long as it is referenced.
  const buffer = new ArrayBuffer(length)
  const bytes = new Uint8Array(buffer)
  return { bytes, view: new DataView(buffer), address: Number(koffi.address(bytes)) }
}

/** Sleeps for less than a second without a promise turn. Not exact. */
export function sleepMicroseconds(microseconds: number): void {
  sleepRequest.view.setBigInt64(8, BigInt(microseconds * 1000), true)
  libc.nanosleep(sleepRequest.address, 0)
}
const sleepRequest = pinned(16)
