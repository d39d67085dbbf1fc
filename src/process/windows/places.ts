/** Free room in an address space. */
import { SYSTEM_INFO } from '../../os/windows/definitions.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import type { Region } from '../contract.ts'
import { type AddressSpace, findFreePlaceAround, type PlaceRequest } from '../place.ts'
import { roomFor } from './mappings.ts'
import { walkPages } from './memory-map.ts'
import type { Target } from './target.ts'

export function findPlace(target: Target, request: PlaceRequest): bigint | undefined {
  return findFreePlaceAround((low, high) => taken(target, low, high), { ...request, size: roomFor(request.size) }, addressSpace())
}

function taken(target: Target, low: bigint, high: bigint): Region[] {
  const found: Region[] = []
  for (const { start, end, state } of walkPages(target, low, high))
    if (state !== 'free') found.push({ start, end, read: false, write: false, execute: false, name: '' })
  return found
}

/** Windows gives out places at multiples of 64 KB: the rest of such a unit behind an allocation is free but of no use. */
export function addressSpace(): AddressSpace {
  const info = new Uint8Array(SYSTEM_INFO.size)
  win32.GetSystemInfo(info)
  const { dwAllocationGranularity, lpMinimumApplicationAddress, lpMaximumApplicationAddress } = SYSTEM_INFO.readAt(info, 0)
  return {
    granularity: BigInt(dwAllocationGranularity),
    lowest: lpMinimumApplicationAddress,
    highest: lpMaximumApplicationAddress + 1n,
  }
}
