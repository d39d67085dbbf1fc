/** Register sets of a stopped thread (PTRACE_GETREGSET), each at the length that the kernel has for it. */
import { Iovec, PTRACE } from '../../os/linux/definitions.ts'
import { libc, type Pinned, pinned } from '../../os/linux/libc.ts'

const iovec = pinned(Iovec.size)
const halves = new Uint32Array(iovec.bytes.buffer)
const WORD = 2 ** 32

/** Fills memory of ours at `address`, `size` bytes of it at most; how many, or -1 (errno has the reason). Allocates nothing. */
export function fetchRegisterSet(tid: number, kind: number, address: number, size: number): number {
  set(address, size)
  return libc.ptrace(PTRACE.GETREGSET, tid, kind, iovec.address) === 0 ? (halves[2] as number) : -1
}

/** The set's own length must be what was fetched. */
export function storeRegisterSet(tid: number, kind: number, address: number, size: number): boolean {
  set(address, size)
  return libc.ptrace(PTRACE.SETREGSET, tid, kind, iovec.address) === 0
}

const buffer: Pinned = pinned(0x10000)

/** A copy of it; undefined: the thread or the processor has none. */
export function readRegisterSet(tid: number, kind: number): Uint8Array | undefined {
  const size = fetchRegisterSet(tid, kind, buffer.address, buffer.bytes.length)
  return size < 0 ? undefined : buffer.bytes.slice(0, size)
}

export function writeRegisterSet(tid: number, kind: number, content: Uint8Array): boolean {
  buffer.bytes.set(content)
  return storeRegisterSet(tid, kind, buffer.address, content.length)
}

function set(address: number, size: number): void {
  halves[0] = address % WORD
  halves[1] = address / WORD
  halves[2] = size
  halves[3] = 0
}
