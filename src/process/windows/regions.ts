/** The memory map of a process with its names. */
import { HotpatchError } from '../../errors.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import type { Region } from '../contract.ts'
import { nameOnPlate } from './mappings.ts'
import { accessOf, type Pages, walkPages } from './memory-map.ts'
import { addressSpace } from './places.ts'
import { goneOr, PAGE_SIZE, type Target } from './target.ts'

/** Committed memory by ascending address. Throws PROCESS_GONE. */
export function regionsOf(target: Target): Region[] {
  const { lowest, highest } = addressSpace()
  const regions: Region[] = []
  let allocation: Pages[] = []
  const close = (): void => {
    regions.push(...regionsOfAllocation(target, allocation))
    allocation = []
  }
  for (const pages of walkPages(target, lowest, highest)) {
    if (pages.allocation !== allocation[0]?.allocation) close()
    if (pages.state !== 'free') allocation.push(pages)
  }
  close()
  if (regions.length === 0)
    throw goneOr(target, () => new HotpatchError('MEMORY_UNREADABLE', `Windows does not show the memory map of process ${target.pid}`))
  return regions
}

function regionsOfAllocation(target: Target, allocation: readonly Pages[]): Region[] {
  const last = allocation.at(-1)
  if (last === undefined) return []
  const plate = last.kind === 'private' ? nameOnPlate(target, last) : undefined
  const name = plate ?? (last.kind === 'private' ? '' : mappedFile(target, last))
  return allocation.flatMap((pages) => {
    if (pages.state !== 'committed') return []
    const region = { start: pages.start, end: pages.end, ...accessOf(pages.protection), name }
    if (plate === undefined || pages !== last || pages.end - pages.start === BigInt(PAGE_SIZE)) return [region]
    // Windows joined the plate with the last segment.
    const start = pages.end - BigInt(PAGE_SIZE)
    return [
      { ...region, end: start },
      { ...region, start },
    ]
  })
}

/** Path of the file that is mapped there; '' for memory without one. */
function mappedFile(target: Target, pages: Pages): string {
  const name = Buffer.alloc(2 * 1024)
  const length = win32.K32GetMappedFileNameW(target.look, pages.start, name, name.length / 2)
  return length === 0 ? '' : drivePath(name.toString('utf16le', 0, 2 * length))
}

/** `\Device\HarddiskVolume2\x`, or Wine's `\??\C:\x`, as `C:\x`. */
function drivePath(path: string): string {
  if (path.startsWith('\\??\\')) return path.slice(4)
  for (const [device, drive] of devices()) if (path.startsWith(`${device}\\`)) return drive + path.slice(device.length)
  return path
}

let known: ReadonlyMap<string, string> | undefined

function devices(): ReadonlyMap<string, string> {
  if (known !== undefined) return known
  const found = new Map<string, string>()
  const target = Buffer.alloc(2 * 1024)
  for (const letter of 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') {
    if (win32.QueryDosDeviceW(`${letter}:`, target, target.length / 2) === 0) continue
    const text = target.toString('utf16le')
    found.set(text.slice(0, text.indexOf('\0')), `${letter}:`)
  }
  known = found
  return found
}
