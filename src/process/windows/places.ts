/** Free room in an address space. */
import { SYSTEM_INFO } from '../../os/windows/definitions.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import type { Region } from '../contract.ts'
import { type AddressSpace, findFreePlace, type PlaceRequest } from '../place.ts'
import { roomFor } from './mappings.ts'
import { walkPages } from './memory-map.ts'
import type { Target } from './target.ts'

export function findPlace(target: Target, request: PlaceRequest): bigint | undefined {
  const space = addressSpace()
  const taken: Region[] = []
  for (const { start, end, state } of walkPages(target, space.lowest, space.highest))
    if (state !== 'free') taken.push({ start, end, read: false, write: false, execute: false, name: '' })
  return findFreePlace(taken, { ...request, size: roomFor(request.size) }, space)
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
