/** Looking for free room in an address space, the same on every system. */
import type { Region } from './contract.ts'

export interface PlaceRequest {
  readonly size: number
  readonly near: bigint
  readonly low: bigint
  readonly high: bigint
}

export interface AddressSpace {
  /** What mappings start on, bytes: the page size on Linux, 64 KB on Windows. */
  readonly granularity: bigint
  /** The lowest address that the system lets a program map. */
  readonly lowest: bigint
  /** One past the highest. */
  readonly highest: bigint
}

/** The start of the free range of `size` bytes in [low, high) whose distance to `near` is least; undefined where there is none. */
export function findFreePlace(regions: readonly Region[], request: PlaceRequest, space: AddressSpace): bigint | undefined {
  const size = BigInt(request.size)
  const low = request.low > space.lowest ? request.low : space.lowest
  const high = request.high < space.highest ? request.high : space.highest
  let best: bigint | undefined
  let bestDistance = 0n
  const consider = (holeStart: bigint, holeEnd: bigint): void => {
    const first = alignUp(holeStart > low ? holeStart : low, space.granularity)
    const end = holeEnd < high ? holeEnd : high
    if (end - size < first) return
    const last = alignDown(end - size, space.granularity)
    const wish = alignDown(request.near, space.granularity)
    const place = wish < first ? first : wish > last ? last : wish
    const distance = place > request.near ? place - request.near : request.near - place
    if (best === undefined || distance < bestDistance) {
      best = place
      bestDistance = distance
    }
  }
  let free = 0n
  for (const region of regions) {
    if (region.start > free) consider(free, region.start)
    if (region.end > free) free = region.end
  }
  consider(free, space.highest)
  return best
}

const alignDown = (address: bigint, to: bigint): bigint => address - (address % to)
const alignUp = (address: bigint, to: bigint): bigint => alignDown(address + to - 1n, to)
