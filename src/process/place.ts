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
  const consider = (holeStart: bigint, holeEnd: bigint): void => {
    const first = alignUp(holeStart > low ? holeStart : low, space.granularity)
    const end = holeEnd < high ? holeEnd : high
    if (end - size < first) return
    const last = alignDown(end - size, space.granularity)
    const wish = alignDown(request.near, space.granularity)
    const place = wish < first ? first : wish > last ? last : wish
    if (best === undefined || distance(place, request.near) < distance(best, request.near)) best = place
  }
  let free = 0n
  for (const region of regions) {
    if (region.start > free) consider(free, region.start)
    if (region.end > free) free = region.end
  }
  consider(free, space.highest)
  return best
}

/** Bytes on both sides of `near` that are looked at first, and how much farther each time. */
const FIRST_REACH = 1n << 25n
const FARTHER = 16n

/**
 * The same where it costs time to learn what is taken: no farther around `near` than the place is.
 * @param taken gives the regions that touch [low, high)
 */
export function findFreePlaceAround(
  taken: (low: bigint, high: bigint) => readonly Region[],
  request: PlaceRequest,
  space: AddressSpace,
): bigint | undefined {
  const { near, size } = request
  const low = request.low > space.lowest ? request.low : space.lowest
  const high = request.high < space.highest ? request.high : space.highest
  for (let reach = FIRST_REACH; ; reach *= FARTHER) {
    const within = { low: near - reach > low ? near - reach : low, high: near + reach < high ? near + reach : high }
    const found = within.low < within.high ? findFreePlace(taken(within.low, within.high), { ...request, ...within }, space) : undefined
    // One that reaches out of what has been looked at may still be nearer than one that lies all in it.
    if (found !== undefined && distance(found, near) + BigInt(size) <= reach) return found
    if (within.low === low && within.high === high) return found
  }
}

const distance = (a: bigint, b: bigint): bigint => (a > b ? a - b : b - a)
const alignDown = (address: bigint, to: bigint): bigint => address - (address % to)
const alignUp = (address: bigint, to: bigint): bigint => alignDown(address + to - 1n, to)
