/** Reading and writing the memory of a process. */
import { HotpatchError } from '../../errors.ts'
import { PAGE } from '../../os/windows/definitions.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { nt } from '../../os/windows/ntdll.ts'
import { errorName, lastError, STATUS, statusName } from '../../os/windows/status.ts'
import { accessOf, type Pages, queryPages, walkPages } from './memory-map.ts'
import { goneOr, hex, PAGE_SIZE, type Target } from './target.ts'

/**
 * Asks for the protection first: reading a guard page would take away the mark that the target's stack grows by, and Wine reads
 * what is only reserved. Throws MEMORY_UNREADABLE naming the first address that cannot be read, PROCESS_GONE.
 */
export function readMemory(target: Target, address: bigint, length: number): Uint8Array {
  if (length === 0) return new Uint8Array(0)
  const unreadable = (from: bigint, why: string): HotpatchError =>
    goneOr(
      target,
      () =>
        new HotpatchError(
          'MEMORY_UNREADABLE',
          `${length} bytes at ${hex(address)} of process ${target.pid} cannot be read, from ${hex(from)} on: ${why}`,
          { facts: { pid: target.pid, address: hex(address), length, unreadable: hex(from) } },
        ),
    )
  if (!isRange(address, length)) throw unreadable(address, 'no such addresses')
  const closed = firstUnreadable(target, address, length)
  if (closed !== undefined) throw unreadable(closed, 'it is not mapped, or closed to reading')
  const data = new Uint8Array(length)
  const count = new BigUint64Array(1)
  if (!win32.ReadProcessMemory(target.look, address, data, length, bytesOf(count)))
    throw unreadable(address + (count[0] ?? 0n), errorName(lastError()))
  return data
}

/** Reads what readMemory has read before, into memory that is there already. Throws MEMORY_UNREADABLE, PROCESS_GONE. */
export function readInto(target: Target, address: bigint, into: Uint8Array): void {
  if (into.length === 0 || win32.ReadProcessMemory(target.look, address, into, into.length, null)) return
  const why = errorName(lastError())
  throw goneOr(
    target,
    () => new HotpatchError('MEMORY_UNREADABLE', `${into.length} bytes at ${hex(address)} of process ${target.pid} cannot be read: ${why}`),
  )
}

const bytesOf = (words: BigUint64Array): Uint8Array => new Uint8Array(words.buffer)

const isRange = (address: bigint, length: number): boolean =>
  Number.isSafeInteger(length) && length > 0 && address >= 0n && address + BigInt(length) <= 1n << 64n

function firstUnreadable(target: Target, address: bigint, length: number): bigint | undefined {
  const end = address + BigInt(length)
  let reached = address
  for (const pages of walkPages(target, address, end)) {
    if (pages.state !== 'committed' || !accessOf(pages.protection).read) return pages.start > address ? pages.start : address
    reached = pages.end
  }
  return reached < end ? reached : undefined
}

/** A stretch of memory whose protection was changed for a write, to be put back. */
interface Opened {
  readonly address: bigint
  readonly size: number
  readonly protection: number
}

/** Protections that were changed for writes to come. */
export interface OpenedPages {
  /** Puts every protection back; those that cannot be are left to a process that is going away. */
  close(): void
}

/**
 * Makes the pages of `ranges` writable where they are not. Code stays executable meanwhile, since threads may be running it: an
 * image's pages become copy-on-write, which is the mildest protection that allows both. Everything or nothing.
 * Throws MEMORY_UNWRITABLE, PROCESS_GONE.
 */
export function openPages(target: Target, ranges: readonly { address: bigint; length: number }[]): OpenedPages {
  const opened: Opened[] = []
  const handle = target.change()
  const old = new Uint8Array(4)
  const close = (): void => {
    for (const { address, size, protection } of opened.reverse()) win32.VirtualProtectEx(handle, address, size, protection, old)
    opened.length = 0
  }
  try {
    for (const { address, length } of ranges)
      for (const pages of committed(target, address, length)) {
        if (accessOf(pages.protection).write) continue
        const size = Number(pages.end - pages.start)
        if (!win32.VirtualProtectEx(handle, pages.start, size, writable(pages), old))
          throw unwritable(target, address, length, errorName(lastError()))
        opened.push({ address: pages.start, size, protection: pages.protection })
      }
  } catch (error) {
    close()
    throw error
  }
  return { close }
}

/** The pages that [address, address + length) touches, cut to it. Throws MEMORY_UNWRITABLE where one is not committed. */
function committed(target: Target, address: bigint, length: number): Pages[] {
  if (!isRange(address, length)) throw unwritable(target, address, length, 'no such addresses')
  const page = BigInt(PAGE_SIZE)
  const low = (address / page) * page
  const high = ((address + BigInt(length) + page - 1n) / page) * page
  const list: Pages[] = []
  for (let at = low; at < high; ) {
    const pages = queryPages(target, at)
    if (pages?.state !== 'committed') throw unwritable(target, address, length, `${hex(at)} is not mapped`)
    const end = pages.end < high ? pages.end : high
    list.push({ ...pages, start: at, end })
    at = end
  }
  return list
}

const writable = ({ kind, protection }: Pages): number => {
  const execute = accessOf(protection & ~PAGE.GUARD).execute
  if (kind === 'private') return execute ? PAGE.EXECUTE_READWRITE : PAGE.READWRITE
  return execute ? PAGE.EXECUTE_WRITECOPY : PAGE.WRITECOPY
}

const unwritable = (target: Target, address: bigint, length: number, why: string): HotpatchError =>
  goneOr(
    target,
    () =>
      new HotpatchError('MEMORY_UNWRITABLE', `${length} bytes at ${hex(address)} of process ${target.pid} cannot be written: ${why}`, {
        facts: { pid: target.pid, address: hex(address), length },
      }),
  )

/**
 * Writes to pages that are writable. The kernel copies an aligned 1, 2, 4 or 8 bytes with one store.
 * Throws MEMORY_UNWRITABLE, PROCESS_GONE.
 */
export function storeBytes(target: Target, address: bigint, bytes: Uint8Array): void {
  if (bytes.length === 0) return
  const count = new BigUint64Array(1)
  const status = nt.NtWriteVirtualMemory(target.change(), address, bytes, bytes.length, bytesOf(count))
  if (status !== STATUS.STATUS_SUCCESS) throw unwritable(target, address, bytes.length, statusName(status))
}

/** Makes written code visible to execution on every processor. */
export function flushCode(target: Target, address: bigint, length: number): void {
  win32.FlushInstructionCache(target.change(), address, length)
}

/** Writes whatever the protection is, and leaves the protection as it was. Throws MEMORY_UNWRITABLE, PROCESS_GONE. */
export function writeMemory(target: Target, address: bigint, bytes: Uint8Array): void {
  if (bytes.length === 0) return
  const pages = openPages(target, [{ address, length: bytes.length }])
  try {
    storeBytes(target, address, bytes)
    flushCode(target, address, bytes.length)
  } finally {
    pages.close()
  }
}
