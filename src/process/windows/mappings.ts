/**
 * Memory that hotpatch adds to a process, and its name.
 *
 * Windows has no name for private memory. A view of a file would have one, but its pages can only be given their different
 * protections by starting writable and executable at once, or by writing through to the file; and the file, different for each
 * process, would have to stay on disk as long as the process lives. So mappings are private memory, and the name stands in
 * the target itself: on a read-only page of its own behind the last segment, the name plate. `regions` shows it as the name of
 * all pages of the allocation; other tools see private memory.
 *
 * Control Flow Guard: private memory that is made executable without PAGE_TARGETS_INVALID is a valid call target everywhere, so nothing has
 * to be registered with SetProcessValidCallTargets.
 */
import { bytes, chars, struct, u32 } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import { MEM, MITIGATIONS, PAGE } from '../../os/windows/definitions.ts'
import { newerWin32, win32 } from '../../os/windows/kernel32.ts'
import { ERROR, errorName, lastError } from '../../os/windows/status.ts'
import type { Protection } from '../../patch/image.ts'
import type { MapRequest } from '../contract.ts'
import { flushCode, readMemory, storeBytes } from './memory.ts'
import { type Pages, queryPages } from './memory-map.ts'
import { ALLOCATION_GRANULARITY, goneOr, hex, PAGE_SIZE, type Target } from './target.ts'

const NAME_PLATE = struct('name plate', { magic: chars(16), length: u32, name: bytes(240) })
const MAGIC = 'hotpatch name 1'

const PAGE_PROTECTION: Readonly<Record<Protection, number>> = { r: PAGE.READONLY, rw: PAGE.READWRITE, rx: PAGE.EXECUTE_READ }

/** What a mapping of `size` bytes takes, with its name plate. */
export const roomFor = (size: number): number => size + PAGE_SIZE

/** Throws PLACE_TAKEN, MAPPING_REFUSED, PROCESS_GONE; the target is then as it was. */
export function mapSegments(target: Target, { address, name, segments }: MapRequest): void {
  const last = segments.at(-1)
  if (last === undefined || address % ALLOCATION_GRANULARITY !== 0n)
    throw new HotpatchError('DEFECT', `a mapping at ${hex(address)} with ${segments.length} segments is none that Windows can make`)
  const size = last.offset + last.size
  const handle = target.change()
  const reserved = BigInt(win32.VirtualAllocEx(handle, address, roomFor(size), MEM.RESERVE, PAGE.NOACCESS))
  if (reserved !== address) {
    const error = reserved === 0n ? lastError() : ERROR.ERROR_INVALID_ADDRESS
    if (reserved !== 0n) win32.VirtualFreeEx(handle, reserved, 0, MEM.RELEASE)
    throw error === ERROR.ERROR_INVALID_ADDRESS
      ? goneOr(target, () => new HotpatchError('PLACE_TAKEN', `${hex(address)} of process ${target.pid} is not free for ${size} bytes`))
      : refused(target, address, size, error)
  }
  try {
    for (const { offset, size, protection, content } of segments) place(target, address + BigInt(offset), size, protection, content)
    place(target, address + BigInt(size), PAGE_SIZE, 'r', namePlate(name))
  } catch (error) {
    win32.VirtualFreeEx(handle, address, 0, MEM.RELEASE)
    throw error
  }
}

/** Commits reserved pages, fills them, and only then gives them their protection. */
function place(target: Target, address: bigint, size: number, protection: Protection, content: Uint8Array): void {
  const handle = target.change()
  if (BigInt(win32.VirtualAllocEx(handle, address, size, MEM.COMMIT, PAGE.READWRITE)) === 0n)
    throw refused(target, address, size, lastError())
  storeBytes(target, address, content)
  if (protection === 'rw') return
  const old = new Uint8Array(4)
  if (!win32.VirtualProtectEx(handle, address, size, PAGE_PROTECTION[protection], old)) throw refused(target, address, size, lastError())
  if (protection === 'rx') flushCode(target, address, size)
}

function namePlate(name: string): Uint8Array {
  const text = Buffer.from(name).subarray(0, 240)
  const padded = new Uint8Array(240)
  padded.set(text)
  return NAME_PLATE.encode({ magic: MAGIC, length: text.length, name: padded })
}

const refused = (target: Target, address: bigint, size: number, error: number): HotpatchError =>
  goneOr(target, () => {
    const mitigations = error === ERROR.ERROR_DYNAMIC_CODE_BLOCKED || error === ERROR.ERROR_ACCESS_DENIED ? mitigationsOf(target) : []
    const why = mitigations.length > 0 ? `its mitigation ${mitigations.join(' and ')} forbids new code` : errorName(error)
    return new HotpatchError('MAPPING_REFUSED', `${size} bytes at ${hex(address)} of process ${target.pid} cannot be mapped: ${why}`, {
      facts: { pid: target.pid, address: hex(address), size, error: errorName(error), mitigations },
    })
  })

/** The policies of the process that forbid code from elsewhere, by name. */
export function mitigationsOf(target: Target): string[] {
  const ask = newerWin32.GetProcessMitigationPolicy
  if (ask === undefined) return []
  const flags = Buffer.alloc(4)
  return MITIGATIONS.filter(({ policy, flag }) => ask(target.look, policy, flags, flags.length) && flags.readUInt32LE(0) & flag).map(
    ({ name }) => name,
  )
}

/** Removes a mapping made by mapSegments. */
export function unmapSegments(target: Target, address: bigint, size: number): void {
  const pages = queryPages(target, address)
  if (pages === undefined || pages.state === 'free' || pages.allocation !== address || pages.kind !== 'private')
    throw goneOr(target, () => new HotpatchError('DEFECT', `${hex(address)} of process ${target.pid} is not the start of a mapping`))
  if (!win32.VirtualFreeEx(target.change(), address, 0, MEM.RELEASE))
    throw goneOr(
      target,
      () =>
        new HotpatchError(
          'DEFECT',
          `${size} bytes at ${hex(address)} of process ${target.pid} cannot be unmapped: ${errorName(lastError())}`,
        ),
    )
}

/** The name on the plate at the end of an allocation, given its last pages; undefined where there is none. */
export function nameOnPlate(target: Target, last: Pages): string | undefined {
  if (last.state !== 'committed' || last.kind !== 'private' || last.protection !== PAGE.READONLY) return undefined
  try {
    const { magic, length, name } = NAME_PLATE.readAt(readMemory(target, last.end - BigInt(PAGE_SIZE), NAME_PLATE.size), 0)
    return magic === MAGIC && length <= name.length ? Buffer.from(name.subarray(0, length)).toString() : undefined
  } catch {
    // The pages went away meanwhile: then they have no name.
    return undefined
  }
}
