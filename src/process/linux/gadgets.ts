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
/** The inode of what has none. */
const NO_FILE = '0'

/** Looks through the code of one process. */
export class CodeSearch {
  readonly #memory: Memory
  /**
   * By mapping and pattern: the code of a file stays what it is where the program has no right to write, and is looked through once. Shared memory may be written through
   * another mapping, as compilers in a program do it.
   */
  readonly #known = new Map<string, readonly bigint[]>()

  constructor(memory: Memory) {
    this.#memory = memory
  }

  /** The C library's first: there both are near. Throws NO_SAFE_THREAD when there is no such instruction at all. */
  gadgets(maps: readonly Mapping[], shadowStack: boolean): Gadgets {
    const rank = ({ name }: Mapping): number => (/\/(libc|ld)[.-]/.test(name) ? 0 : name.startsWith('/') ? 1 : 2)
    const code = maps.filter(isCode).sort((a, b) => rank(a) - rank(b))
    const restorer = shadowStack ? undefined : firstIn(code, (mapping) => this.#restorersIn(mapping)[0])
    const withReturn = restorer === undefined ? undefined : firstIn(code, (mapping) => this.#places(mapping, SYSCALL_RET, 1)[0])
    const syscall = withReturn ?? firstIn(code, (mapping) => this.#places(mapping, SYSCALL, 1)[0])
    if (syscall === undefined) throw new HotpatchError('NO_SAFE_THREAD', 'the process has no instruction that makes a system call')
    return { syscall, restorer: withReturn === undefined ? undefined : restorer }
  }

  /** Every place that signal handlers may return to: such an address on a stack shows that a handler runs there. */
  restorers(maps: readonly Mapping[]): Set<bigint> {
    return new Set(maps.filter(isCode).flatMap((mapping) => this.#restorersIn(mapping)))
  }

  readonly #restorersIn = (mapping: Mapping): bigint[] =>
    RESTORERS.flatMap((pattern) => this.#places(mapping, pattern, Number.POSITIVE_INFINITY)).sort((a, b) => (a < b ? -1 : 1))

  /** Where the pattern is, the first `most` of them. */
  #places(mapping: Mapping, pattern: Uint8Array, most: number): readonly bigint[] {
    const { start, end, offset, device, inode, write, shared } = mapping
    const key = [start, end, offset, device, inode, Buffer.from(pattern).toString('hex'), most].join()
    const known = this.#known.get(key)
    if (known?.every((at) => this.#isAt(at, pattern))) return known
    const found = this.#search(mapping, pattern, most)
    if (inode !== NO_FILE && !write && !shared) this.#known.set(key, found)
    return found
  }

  #isAt(address: bigint, pattern: Uint8Array): boolean {
    const bytes = this.#memory.tryRead(address, pattern.length)
    return bytes !== undefined && Buffer.compare(bytes, pattern) === 0
  }

  #search(mapping: Mapping, pattern: Uint8Array, most: number): bigint[] {
    const found = new Set<bigint>()
    for (const { start, data } of this.#pieces(mapping))
      for (let at = indexIn(data, pattern, 0); at >= 0; at = indexIn(data, pattern, at + 1)) {
        found.add(start + BigInt(at))
        if (found.size === most) return [...found]
      }
    return [...found]
  }

  *#pieces({ start, end }: Mapping): Generator<{ start: bigint; data: Buffer }> {
    const size = Number(end - start)
    for (let at = 0; at < size; at += PIECE) {
      const data = this.#memory.tryRead(start + BigInt(at), Math.min(PIECE + OVERLAP, size - at))
      if (data !== undefined) yield { start: start + BigInt(at), data: Buffer.from(data.buffer, data.byteOffset, data.length) }
    }
  }
}

const isCode = ({ execute, read, start }: Mapping): boolean => execute && read && start < ADDRESS_END

function firstIn(mappings: readonly Mapping[], find: (mapping: Mapping) => bigint | undefined): bigint | undefined {
  for (const mapping of mappings) {
    const found = find(mapping)
    if (found !== undefined) return found
  }
  return undefined
}

/** Pieces begin at the start of an instruction. */
function indexIn(data: Buffer, pattern: Uint8Array, from: number): number {
  let at = data.indexOf(pattern, from)
  while (at >= 0 && at % ALIGNMENT !== 0) at = data.indexOf(pattern, at + 1)
  return at
}
