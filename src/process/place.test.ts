import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Region } from './contract.ts'
import { type AddressSpace, findFreePlace, findFreePlaceAround } from './place.ts'

const PAGE = 0x1000n
const space: AddressSpace = { granularity: PAGE, lowest: 0x10000n, highest: 0x100000n }
const region = (start: bigint, end: bigint): Region => ({ start, end, read: true, write: false, execute: false, name: '' })
const whole = { low: 0n, high: 1n << 47n }

describe('findFreePlace', () => {
  test('takes the hole just behind the module', () => {
    const regions = [region(0x20000n, 0x24000n), region(0x30000n, 0x40000n)]
    expect(findFreePlace(regions, { size: 0x2000, near: 0x24000n, ...whole }, space)).toBe(0x24000n)
  })

  test('looks below when what is above is full', () => {
    expect(findFreePlace([region(0x20000n, 0x100000n)], { size: 0x2000, near: 0x24000n, ...whole }, space)).toBe(0x1e000n)
  })

  test('keeps inside low and high', () => {
    const request = { size: 0x1000, near: 0x20000n, low: 0x30800n, high: 0x32000n }
    expect(findFreePlace([], request, space)).toBe(0x31000n)
    expect(findFreePlace([], { ...request, size: 0x1001 }, space)).toBeUndefined()
  })

  test('never below the lowest address that the system lets be mapped', () => {
    expect(findFreePlace([region(0x11000n, 0x100000n)], { size: 0x1000, near: 0n, ...whole }, space)).toBe(0x10000n)
  })

  test('finds a place exactly when a page-by-page search does, and the nearest one', () => {
    const pages = fc.uniqueArray(fc.integer({ min: 0x10, max: 0x3f }), { maxLength: 40 })
    fc.assert(
      fc.property(pages, fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0x10, max: 0x3f }), (taken, count, near) => {
        const small: AddressSpace = { ...space, highest: 0x40000n }
        const regions = taken.sort((a, b) => a - b).map((page) => region(BigInt(page) * PAGE, BigInt(page + 1) * PAGE))
        const request = { size: count * 0x1000, near: BigInt(near) * PAGE, ...whole }
        const free = (page: number): boolean => page >= 0x10 && page < 0x40 && !taken.includes(page)
        const starts = Array.from({ length: 0x30 }, (_, i) => i + 0x10).filter((page) =>
          Array.from({ length: count }, (_, i) => page + i).every(free),
        )
        const found = findFreePlace(regions, request, small)
        if (starts.length === 0) return found === undefined
        const nearest = Math.min(...starts.map((page) => Math.abs(page - near)))
        return found !== undefined && starts.includes(Number(found / PAGE)) && Math.abs(Number(found / PAGE) - near) === nearest
      }),
    )
  })
})

describe('findFreePlaceAround', () => {
  const wide: AddressSpace = { granularity: PAGE, lowest: 0x10000n, highest: 1n << 47n }
  const address = fc.bigInt({ min: 0n, max: (1n << 35n) / PAGE }).map((page) => page * PAGE)
  const stretches = fc.array(fc.tuple(address, fc.bigInt({ min: 1n, max: 1n << 20n })), { maxLength: 12 })

  test('finds what a look at everything finds', () => {
    fc.assert(
      fc.property(stretches, address, address, address, fc.integer({ min: 1, max: 1 << 28 }), (made, near, low, high, size) => {
        const regions = made.map(([start, pages]) => region(start, start + pages * PAGE)).sort((a, b) => (a.start < b.start ? -1 : 1))
        const request = { size, near, low, high }
        const touching = (from: bigint, to: bigint) => regions.filter(({ start, end }) => start < to && end > from)
        expect(findFreePlaceAround(touching, request, wide)).toBe(findFreePlace(regions, request, wide))
      }),
      { numRuns: 500 },
    )
  })

  test('looks no farther than it must', () => {
    const looked: [bigint, bigint][] = []
    const near = 1n << 32n
    const look = (low: bigint, high: bigint): Region[] => {
      looked.push([low, high])
      return []
    }
    expect(findFreePlaceAround(look, { size: 0x2000, near, ...whole }, wide)).toBe(near)
    expect(looked).toHaveLength(1)
    expect(looked[0]?.every((at) => at - near <= 1n << 25n && near - at <= 1n << 25n)).toBe(true)
  })
})
