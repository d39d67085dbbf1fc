import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readRuntimeFunctions } from './directories.ts'
import { blockwise, peFrames } from './frames.ts'
import { directory, type PeImage, readPe } from './reader.ts'

const tableOf = (image: PeImage): Uint8Array => {
  const at = directory(image, 'EXCEPTION')
  return at === undefined ? new Uint8Array() : image.read(at.rva, at.size)
}

const open = (name: string) => readPe(new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url))))

describe.each(['ld-gcc12.dll', 'lld19-mingw.dll', 'lld19-msvc.dll'])('%s', (name) => {
  const image = open(name)
  const records = readRuntimeFunctions(image)
  const { functions, stretches } = peFrames('x64', tableOf(image), (rva, length) => image.read(rva, length))

  test('every record is a stretch, every stretch is described', () => {
    expect(records.length).toBeGreaterThan(3)
    expect(stretches.map(({ begin, end }) => [begin, end])).toEqual(
      records.map(({ BeginAddress, EndAddress }) => [BeginAddress, EndAddress]).sort(([a = 0], [b = 0]) => a - b),
    )
    expect(functions.map(({ start }) => start).sort((a, b) => a - b)).toEqual(stretches.map(({ begin }) => begin))
    for (const { rows } of functions) expect(rows[0]?.start).toBe(0)
  })

  test('the primary of a stretch is the begin of a record', () => {
    const begins = new Set(records.map(({ BeginAddress }) => BeginAddress))
    for (const { primary } of stretches) expect(begins.has(primary)).toBe(true)
  })
})

const record = (begin: number, end: number, unwind: number): number[] =>
  [begin, end, unwind].flatMap((n) => [n & 255, (n >> 8) & 255, 0, 0])

describe('records', () => {
  // At 0x10: push rbx at 1. At 0x20: nothing of its own, continues the record at 0x40.
  const image = new Uint8Array(0x100)
  image.set([1, 1, 1, 0, 1, 0x30, 0, 0], 0x10)
  image.set([0x21, 0, 0, 0, ...record(0x1000, 0x1010, 0x10)], 0x20)
  image.set(record(0x1000, 0x1010, 0x10), 0x40)
  image.set([0x21, 0, 0, 0, ...record(0x3000, 0x3010, 0x60)], 0x60)
  const read = blockwise((rva, length) => image.slice(rva, rva + length), image.length)
  const framesOf = (...all: number[][]) => peFrames('x64', Uint8Array.from(all.flat()), read)

  test('a part of a function has its parent done in full, and its primary', () => {
    const { functions, stretches } = framesOf(record(0x1000, 0x1010, 0x10), record(0x2000, 0x2020, 0x20))
    expect(stretches).toEqual([
      { begin: 0x1000, end: 0x1010, primary: 0x1000 },
      { begin: 0x2000, end: 0x2020, primary: 0x1000 },
    ])
    expect(functions[1]?.rows[0]?.cfa).toEqual({ kind: 'register', register: 7, offset: 16 })
  })

  test('an odd address of unwind information is that of another record', () => {
    const { functions, stretches } = framesOf(record(0x2000, 0x2020, 0x41))
    expect(stretches).toEqual([{ begin: 0x2000, end: 0x2020, primary: 0x1000 }])
    expect(functions[0]?.rows).toHaveLength(2)
  })

  test('a chain without end, an address outside, an empty range: a stretch without rows, or none', () => {
    const { functions, stretches } = framesOf(record(0x3000, 0x3010, 0x60), record(0x4000, 0x4010, 0xfff0), record(0x5000, 0x5000, 0x10))
    expect(functions).toEqual([])
    expect(stretches.map(({ begin }) => begin)).toEqual([0x3000, 0x4000])
  })
})

test('blockwise reads give what single reads give', () => {
  const image = Uint8Array.from({ length: 0x25000 }, (_, i) => (i * 7) ^ (i >> 8))
  let reads = 0
  const read = blockwise((rva, length) => {
    reads++
    return image.slice(rva, rva + length)
  }, image.length)
  fc.assert(
    fc.property(fc.integer({ min: 0, max: image.length }), fc.integer({ min: 0, max: 0x18000 }), (rva, length) => {
      if (rva + length > image.length) expect(() => read(rva, length)).toThrow(/TRUNCATED/)
      else expect(Buffer.compare(read(rva, length), image.subarray(rva, rva + length))).toBe(0)
    }),
  )
  expect(reads).toBeLessThanOrEqual(3)
})
