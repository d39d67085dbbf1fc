import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AddressFinder, searchParts } from './search.ts'

const RANGE = { start: 0x7f12_3456_f040n, end: 0x7f12_3459_1000n }

function withAddress(size: number, at: number, value: bigint): Buffer {
  const data = Buffer.alloc(size, 0x11)
  if (at + 8 <= size) data.writeBigUInt64LE(BigInt.asUintN(64, value), at)
  return data
}

describe('addresses', () => {
  test('are found at every place, at both ends of the range, and not beside it', () => {
    const finder = new AddressFinder([RANGE])
    for (let at = 0; at < 24; at++) {
      expect(finder.find(withAddress(64, at, RANGE.start), 0n)).toBe(at)
      expect(finder.find(withAddress(64, at, RANGE.end - 1n), 0n)).toBe(at)
      expect(finder.find(withAddress(64, at, RANGE.start - 1n), 0n)).toBe(-1)
      expect(finder.find(withAddress(64, at, RANGE.end), 0n)).toBe(-1)
    }
  })

  test('of any value inside are found, whatever stands in the uppermost bits', () => {
    fc.assert(
      fc.property(fc.bigInt(RANGE.start, RANGE.end - 1n), fc.bigInt(0n, 0xffffn), fc.nat(40), (address, tag, at) => {
        expect(new AddressFinder([RANGE]).find(withAddress(64, at, (tag << 48n) | address), 0n)).toBe(at)
      }),
    )
  })

  test('of several ranges are found', () => {
    const other = { start: 0x7f12_3461_0010n, end: 0x7f12_3461_0020n }
    const finder = new AddressFinder([other, RANGE])
    for (const inside of [RANGE.start, other.start, other.end - 1n]) expect(finder.find(withAddress(32, 3, inside), 0n)).toBe(3)
    for (const outside of [RANGE.end, other.start - 1n, other.end]) expect(finder.find(withAddress(32, 3, outside), 0n)).toBe(-1)
  })

  test('below 4 GB count at multiples of 4 only', () => {
    const finder = new AddressFinder([{ start: 0x407040n, end: 0x40a000n }])
    const number = withAddress(32, 8, 0x4078n)
    number.fill(0, 0, 8)
    expect(finder.find(number, 0x1000n)).toBe(-1)
    expect(finder.find(withAddress(32, 8, 0x407800n), 0x1000n)).toBe(8)
    expect(finder.find(withAddress(32, 8, 0x407800n), 0x1001n)).toBe(-1)
  })
})

describe('a search', () => {
  const memory = (bytes: Buffer, start: bigint) => (address: bigint, into: Buffer) => {
    const at = Number(address - start)
    return bytes.copy(into, 0, at, Math.min(bytes.length, at + into.length))
  }
  const start = 0x1_0000_0000n
  const parts = (size: number) => [{ start, end: start + BigInt(size) }]

  test('finds what lies across two pieces', () => {
    const size = 3 << 20
    for (const at of [0, (1 << 20) - 6, (1 << 20) - 5, (1 << 20) - 1, 1 << 20, 2 << 20, size - 8]) {
      const bytes = withAddress(size, at, RANGE.start + 5n)
      expect(searchParts({ ranges: [RANGE], except: [], limit: size }, parts(size), memory(bytes, start))).toEqual({
        found: start + BigInt(at),
      })
    }
  })

  test('leaves out what is excepted, which then does not count', () => {
    const bytes = withAddress(4096, 100, RANGE.start)
    const except = [
      { start: start + 96n, end: start + 112n },
      { start: start + 4000n, end: start + 9000n },
    ]
    const read = memory(bytes, start)
    expect(searchParts({ ranges: [RANGE], except, limit: 3984 }, parts(4096), read)).toBe('nothing')
    expect(searchParts({ ranges: [RANGE], except, limit: 3983 }, parts(4096), read)).toBe('too-much')
    expect(searchParts({ ranges: [RANGE], except: except.slice(1), limit: 4096 }, parts(4096), read)).toEqual({ found: start + 100n })
  })

  test('takes what cannot be read for a find', () => {
    expect(searchParts({ ranges: [RANGE], except: [], limit: 4096 }, parts(4096), () => 0)).toEqual({ found: start })
  })
})
