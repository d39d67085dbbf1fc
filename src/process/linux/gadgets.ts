/** Instructions that the target has already, for the system calls that it makes for us: none is ever written into it for that. */
import { HotpatchError } from '../../errors.ts'
import type { Memory } from './memory.ts'
import type { Mapping } from './proc.ts'

export interface Gadgets {
  /** `syscall; ret`, or a lone `syscall` where `restorer` is undefined. */
  readonly syscall: bigint
  /**
   * `mov $15,%eax; syscall`: where signal handlers return to (`__restore_rt`), in every program that can handle a signal.
   * undefined: there is none, or a shadow stack would not let a `ret` arrive there.
   */
  readonly restorer: bigint | undefined
}

/** 0f 05: syscall; c3: ret. */
const SYSCALL_RET = Uint8Array.of(0x0f, 0x05, 0xc3)
const SYSCALL = SYSCALL_RET.subarray(0, 2)
/** rt_sigreturn: 48 c7 c0 0f 00 00 00: mov $15,%rax (the C libraries), b8 0f 00 00 00: mov $15,%eax (Go, Rust); 0f 05: syscall. */
const RESTORERS = [Uint8Array.of(0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05), Uint8Array.of(0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05)]
/** Read at a time; neighbouring pieces overlap by the longest pattern. */
const PIECE = 1 << 20
const OVERLAP = 16

/** Looks through executable memory, the C library first: there both are near. Throws NO_SAFE_THREAD when there is no `syscall` at all. */
export function findGadgets(maps: readonly Mapping[], memory: Memory, shadowStack: boolean): Gadgets {
  const code = maps.filter((mapping) => mapping.execute && mapping.read && mapping.start < 1n << 47n)
  const rank = (name: string): number => (/\/(libc|ld)[.-]/.test(name) ? 0 : name.startsWith('/') ? 1 : 2)
  code.sort((a, b) => rank(a.name) - rank(b.name))
  const find = (patterns: readonly Uint8Array[]): bigint | undefined => {
    for (const mapping of code) {
      const found = findIn(mapping, memory, patterns)
      if (found !== undefined) return found
    }
    return undefined
  }
  const restorer = shadowStack ? undefined : find(RESTORERS)
  const syscall = (restorer === undefined ? undefined : find([SYSCALL_RET])) ?? find([SYSCALL])
  if (syscall === undefined) throw new HotpatchError('NO_SAFE_THREAD', 'the process has no instruction that makes a system call')
  const returns = restorer !== undefined && memory.read(syscall + 2n, 1)[0] === SYSCALL_RET[2]
  return { syscall, restorer: returns ? restorer : undefined }
}

/** Every place that signal handlers may return to: such an address on a stack shows that a handler runs there. */
export function findRestorers(maps: readonly Mapping[], memory: Memory): Set<bigint> {
  const found = new Set<bigint>()
  for (const mapping of maps) {
    if (!mapping.execute || !mapping.read || mapping.start >= 1n << 47n) continue
    for (const piece of pieces(mapping, memory))
      for (const pattern of RESTORERS)
        for (let at = piece.data.indexOf(pattern); at >= 0; at = piece.data.indexOf(pattern, at + 1)) found.add(piece.start + BigInt(at))
  }
  return found
}

function findIn(mapping: Mapping, memory: Memory, patterns: readonly Uint8Array[]): bigint | undefined {
  for (const piece of pieces(mapping, memory))
    for (const pattern of patterns) {
      const at = piece.data.indexOf(pattern)
      if (at >= 0) return piece.start + BigInt(at)
    }
  return undefined
}

function* pieces(mapping: Mapping, memory: Memory): Generator<{ start: bigint; data: Buffer }> {
  const size = Number(mapping.end - mapping.start)
  for (let at = 0; at < size; at += PIECE) {
    const data = memory.tryRead(mapping.start + BigInt(at), Math.min(PIECE + OVERLAP, size - at))
    if (data !== undefined) yield { start: mapping.start + BigInt(at), data: Buffer.from(data.buffer, data.byteOffset, data.length) }
  }
}
