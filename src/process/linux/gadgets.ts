/** Instructions that the target has already, for the system calls that it makes for us: none is ever written into it for that. */
import { HotpatchError } from '../../errors.ts'
import { ADDRESS_END } from '../../os/linux/syscalls.ts'
import { machine } from './host-machine.ts'
import type { Memory } from './memory.ts'
import type { Mapping } from './proc.ts'

export interface Gadgets {
  /** A system call and a return, or a lone system call where `restorer` is undefined. */
  readonly syscall: bigint
  /**
   * Where signal handlers return to: rt_sigreturn (`__restore_rt`), in every program that can handle a signal.
   * undefined: there is none, or a shadow stack would not let a return arrive there.
   */
  readonly restorer: bigint | undefined
}

const { syscall: SYSCALL, syscallReturn: SYSCALL_RET, restorers: RESTORERS, alignment: ALIGNMENT } = machine.code
/** Read at a time; neighbouring pieces overlap by the longest pattern. */
const PIECE = 1 << 20
const OVERLAP = 16

/** Looks through executable memory, the C library first: there both are near. Throws NO_SAFE_THREAD when there is no such instruction at all. */
export function findGadgets(maps: readonly Mapping[], memory: Memory, shadowStack: boolean): Gadgets {
  const code = maps.filter((mapping) => mapping.execute && mapping.read && mapping.start < ADDRESS_END)
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
  const returns = restorer !== undefined && Buffer.compare(memory.read(syscall, SYSCALL_RET.length), SYSCALL_RET) === 0
  return { syscall, restorer: returns ? restorer : undefined }
}

/** Every place that signal handlers may return to: such an address on a stack shows that a handler runs there. */
export function findRestorers(maps: readonly Mapping[], memory: Memory): Set<bigint> {
  const found = new Set<bigint>()
  for (const mapping of maps) {
    if (!mapping.execute || !mapping.read || mapping.start >= ADDRESS_END) continue
    for (const piece of pieces(mapping, memory))
      for (const pattern of RESTORERS)
        for (let at = indexIn(piece.data, pattern, 0); at >= 0; at = indexIn(piece.data, pattern, at + 1))
          found.add(piece.start + BigInt(at))
  }
  return found
}

function findIn(mapping: Mapping, memory: Memory, patterns: readonly Uint8Array[]): bigint | undefined {
  for (const piece of pieces(mapping, memory))
    for (const pattern of patterns) {
      const at = indexIn(piece.data, pattern, 0)
      if (at >= 0) return piece.start + BigInt(at)
    }
  return undefined
}

/** Pieces begin at the start of an instruction. */
function indexIn(data: Buffer, pattern: Uint8Array, from: number): number {
  let at = data.indexOf(pattern, from)
  while (at >= 0 && at % ALIGNMENT !== 0) at = data.indexOf(pattern, at + 1)
  return at
}

function* pieces(mapping: Mapping, memory: Memory): Generator<{ start: bigint; data: Buffer }> {
  const size = Number(mapping.end - mapping.start)
  for (let at = 0; at < size; at += PIECE) {
    const data = memory.tryRead(mapping.start + BigInt(at), Math.min(PIECE + OVERLAP, size - at))
    if (data !== undefined) yield { start: mapping.start + BigInt(at), data: Buffer.from(data.buffer, data.byteOffset, data.length) }
  }
}
