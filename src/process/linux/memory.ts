/** The memory of a process through /proc/PID/mem. */
import { closeSync } from 'node:fs'
import { HotpatchError } from '../../errors.ts'
import { ERRNO } from '../../os/linux/definitions.ts'
import { errno, errnoName, libc, pinned } from '../../os/linux/libc.ts'
import { ADDRESS_END } from '../../os/linux/syscalls.ts'
import { openInProcess } from './proc.ts'

/** Reads and writes up to this length use one buffer that is made at the start. */
const BUFFER = 0x10000
const hex = (address: bigint): string => `0x${address.toString(16)}`

export interface PreparedStore {
  /** Keeps what is there now, for `undo`. */
  remember(): boolean
  apply(): boolean
  undo(): void
  /** Why `apply` or `remember` failed. */
  failure(): HotpatchError
}

/**
 * The file is opened once and stands for that one address space: after the process has ended, or has become another program
 * (exec), it answers nothing (0 bytes), and so never another process of the same number.
 *
 * Writes go through whatever the protection is: the kernel copies the page where it is shared with a file, and keeps the
 * protection. `process_vm_writev` cannot do that (EFAULT on read-only text).
 *
 * **One store.** The kernel copies the bytes with its memcpy, PTRACE_POKEDATA by the very same path, so there is no stronger call to use.
 * On x86-64 memcpy moves 8 bytes with 8-byte moves, or with `rep movsb` where the processor is fast at it (FSRM), which stores an
 * aligned 8-byte word at once; 2 bytes, though, may be moved as two. So `LinuxProcess.write` makes 2 and 4 bytes a store of the
 * aligned word around them where the memory is not writable to the program itself (nobody else can be writing beside them).
 */
export class Memory {
  readonly #pid: number
  readonly #fd: number
  readonly #buffer = pinned(BUFFER)
  #open = true

  /** Throws PROCESS_GONE and the system's error (EACCES, EPERM) where the right is missing. */
  constructor(pid: number) {
    this.#pid = pid
    this.#fd = openInProcess(pid, 'mem', 'r+')
  }

  /** Throws MEMORY_UNREADABLE, PROCESS_GONE. */
  read(address: bigint, length: number): Uint8Array {
    const result = new Uint8Array(length)
    let done = 0
    while (done < length) {
      const count = this.#transfer('pread', address + BigInt(done), Math.min(length - done, BUFFER))
      if (count <= 0) throw this.#failure('MEMORY_UNREADABLE', 'read', address, length, count)
      result.set(this.#buffer.bytes.subarray(0, count), done)
      done += count
    }
    return result
  }

  /** As `read`, undefined where it cannot be read. Throws PROCESS_GONE. */
  tryRead(address: bigint, length: number): Uint8Array | undefined {
    try {
      return this.read(address, length)
    } catch (error) {
      if (error instanceof HotpatchError && error.code === 'MEMORY_UNREADABLE') return undefined
      throw error
    }
  }

  /** Everything or nothing. Throws MEMORY_UNWRITABLE, PROCESS_GONE. */
  write(address: bigint, bytes: Uint8Array): void {
    // What can be read can be written: neither looks at the protection.
    if (this.tryRead(address, bytes.length) === undefined) throw this.#failure('MEMORY_UNWRITABLE', 'written', address, bytes.length, -1)
    for (let done = 0; done < bytes.length; done += BUFFER) {
      const part = bytes.subarray(done, done + BUFFER)
      const count = this.store(address + BigInt(done), part)
      if (count !== part.length) throw this.#failure('MEMORY_UNWRITABLE', 'written', address, bytes.length, count)
    }
  }

  /** One call of the kernel: how many of at most 64 KB were written, negative or 0 where none. Allocates nothing. */
  store(address: bigint, bytes: Uint8Array): number {
    this.#buffer.bytes.set(bytes)
    return this.#transfer('pwrite', address, bytes.length)
  }

  /**
   * A store that is made ready before a moment in which nothing may be allocated. Throws MEMORY_UNWRITABLE when the memory is not
   * there, PROCESS_GONE.
   */
  prepare(address: bigint, bytes: Uint8Array): PreparedStore {
    if (this.tryRead(address, bytes.length) === undefined) throw this.#failure('MEMORY_UNWRITABLE', 'written', address, bytes.length, -1)
    const [content, before, at, length] = [pinned(bytes.length), pinned(bytes.length), Number(address), bytes.length]
    content.bytes.set(bytes)
    const fd = this.#fd
    return {
      apply: () => libc.pwrite(fd, content.address, length, at) === length,
      remember: () => libc.pread(fd, before.address, length, at) === length,
      undo: () => void libc.pwrite(fd, before.address, length, at),
      failure: () => this.#failure('MEMORY_UNWRITABLE', 'written', address, length, this.tryRead(address, length) === undefined ? -1 : 0),
    }
  }

  /** As much as can be read from `address` on; how many bytes that was. */
  fill(address: bigint, into: Uint8Array): number {
    let done = 0
    while (done < into.length) {
      const count = this.#transfer('pread', address + BigInt(done), Math.min(into.length - done, BUFFER))
      if (count <= 0) break
      into.set(this.#buffer.bytes.subarray(0, count), done)
      done += count
    }
    return done
  }

  /** Copies within the target, 64 KB at a time. Throws MEMORY_UNREADABLE, MEMORY_UNWRITABLE, PROCESS_GONE. */
  copy(from: bigint, to: bigint, length: number): void {
    for (let done = 0; done < length; done += BUFFER) {
      const [at, part] = [BigInt(done), Math.min(BUFFER, length - done)]
      const got = this.#transfer('pread', from + at, part)
      if (got !== part) throw this.#failure('MEMORY_UNREADABLE', 'read', from + at, part, got)
      const put = this.#transfer('pwrite', to + at, part)
      if (put !== part) throw this.#failure('MEMORY_UNWRITABLE', 'written', to + at, part, put)
    }
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    closeSync(this.#fd)
  }

  #transfer(call: 'pread' | 'pwrite', address: bigint, length: number): number {
    if (!this.#open) throw new HotpatchError('DEFECT', `process ${this.#pid} was used after it was closed`)
    // An offset is signed, so nothing from 2^63 on can be asked for, and numbers are exact below 2^53 only; users have 2^47 or 2^48.
    if (address < 0n || address >= ADDRESS_END) return -1
    const result = libc[call](this.#fd, this.#buffer.address, length, Number(address))
    if (result < 0 && errno() === ERRNO.ESRCH) return 0
    return result
  }

  #failure(code: 'MEMORY_UNREADABLE' | 'MEMORY_UNWRITABLE', verb: string, address: bigint, length: number, count: number): HotpatchError {
    if (count === 0) return new HotpatchError('PROCESS_GONE', `process ${this.#pid} has ended, or has become another program`)
    const reason = count < 0 ? ` (${errnoName(errno())})` : ''
    const facts = { address: hex(address), length }
    return new HotpatchError(code, `${length} bytes at ${hex(address)} of process ${this.#pid} cannot be ${verb}${reason}`, { facts })
  }
}
