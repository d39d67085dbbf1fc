import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { Blocks } from './blocks.ts'
import { readRuntimeFunctions } from './directories.ts'
import { PeFrames, UNWIND_INFORMATION_SIZE } from './frames.ts'
import { directory, type PeImage, readPe } from './reader.ts'

const tableOf = (image: PeImage): Uint8Array => {
  const at = directory(image, 'EXCEPTION')
  return at === undefined ? new Uint8Array() : image.read(at.rva, at.size)
}

const all = (frames: PeFrames) => Array.from({ length: frames.count }, (_, i) => frames.at(i))

const open = (name: string) => readPe(new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url))))

describe.each(['ld-gcc12.dll', 'lld19-mingw.dll', 'lld19-msvc.dll'])('%s', (name) => {
  const image = open(name)
  const records = readRuntimeFunctions(image)
  const frames = new PeFrames('x64', tableOf(image), (rva, length) => image.read(rva, length))

  test('every record is a stretch, every stretch is described', () => {
    expect(records.length).toBeGreaterThan(3)
    expect(all(frames).map(({ begin, end }) => [begin, end])).toEqual(
      records.map(({ BeginAddress, EndAddress }) => [BeginAddress, EndAddress]).sort(([a = 0], [b = 0]) => a - b),
    )
    for (const { begin, end, described } of all(frames)) {
      expect([described?.start, described?.size]).toEqual([begin, end - begin])
      expect(described?.rows[0]?.start).toBe(0)
    }
  })

  test('the primary of a stretch is the begin of a record', () => {
    const begins = new Set(records.map(({ BeginAddress }) => BeginAddress))
    for (const { primary } of all(frames)) expect(begins.has(primary)).toBe(true)
  })

  test('each byte is in the stretch that began last before it, or in none', () => {
    const end = Math.max(...records.map(({ EndAddress }) => EndAddress)) + 16
    for (let rva = 0x1000 - 1; rva < end; rva += 3) {
      const before = records.filter(({ BeginAddress }) => BeginAddress <= rva).sort((a, b) => b.BeginAddress - a.BeginAddress)[0]
      const index = frames.indexAt(rva)
      const expected = before !== undefined && rva < before.EndAddress ? before.BeginAddress : undefined
      expect(index < 0 ? undefined : frames.at(index).begin).toBe(expected)
    }
  })

  test('what is read ahead is all that frames need', () => {
    const size = image.optionalHeader.SizeOfImage
    const memory = Buffer.alloc(size)
    for (const { rva, size: length } of image.sections) memory.set(image.read(rva, length), rva)
    const blocks = new Blocks((rva, length) => memory.subarray(rva, rva + length), size)
    const others = new PeFrames('x64', tableOf(image), blocks.read)
    blocks.ahead(others.information(), UNWIND_INFORMATION_SIZE)
    blocks.close()
    expect(all(others)).toEqual(all(frames))
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
  const { read } = new Blocks((rva, length) => image.slice(rva, rva + length), image.length)
  const framesOf = (...records: number[][]) => new PeFrames('x64', Uint8Array.from(records.flat()), read)

  test('a part of a function has its parent done in full, and its primary', () => {
    const [first, second] = all(framesOf(record(0x1000, 0x1010, 0x10), record(0x2000, 0x2020, 0x20)))
    expect(first).toMatchObject({ begin: 0x1000, end: 0x1010, primary: 0x1000 })
    expect(second).toMatchObject({ begin: 0x2000, end: 0x2020, primary: 0x1000 })
    expect(second?.described?.rows[0]?.cfa).toEqual({ kind: 'register', register: 7, offset: 16 })
  })

  test('an odd address of unwind information is that of another record', () => {
    const [first] = all(framesOf(record(0x2000, 0x2020, 0x41)))
    expect(first).toMatchObject({ begin: 0x2000, end: 0x2020, primary: 0x1000 })
    expect(first?.described?.rows).toHaveLength(2)
  })

  test('a chain without end, an address outside, an empty range: a stretch without rows, or none', () => {
    const frames = framesOf(record(0x3000, 0x3010, 0x60), record(0x4000, 0x4010, 0xfff0), record(0x5000, 0x5000, 0x10))
    expect(all(frames).map(({ described }) => described)).toEqual([undefined, undefined, undefined])
    expect([0x3000, 0x300f, 0x3010, 0x4000, 0x5000, 0x2fff].map((rva) => frames.indexAt(rva))).toEqual([0, 0, -1, 1, -1, -1])
  })

  test('an address beyond 2 GB is one, too: nothing before the image is asked for', () => {
    const table = Uint8Array.from([...record(0x1000, 0x1010, 0x10), ...record(0x2000, 0x2010, 0)])
    table.set([0x11, 0, 0, 0xff], 20)
    const frames = new PeFrames('x64', table, read)
    expect([...frames.information()]).toEqual([0x10, 0xff00_0010])
    const asked: number[] = []
    const blocks = new Blocks((rva, length) => {
      asked.push(rva)
      return new Uint8Array(length)
    }, 0x30000)
    blocks.ahead(frames.information(), UNWIND_INFORMATION_SIZE)
    expect(asked).toEqual([0])
  })

  test('records that do not ascend are found all the same; where two overlap, the one that begins later has the code', () => {
    const frames = framesOf(record(0x2000, 0x2020, 0x10), record(0x1000, 0x1100, 0x10), record(0x1040, 0x1050, 0x10))
    expect([0x1000, 0x1040, 0x1060, 0x2010].map((rva) => frames.indexAt(rva))).toEqual([0, 1, -1, 2])
  })
})

test('reads in blocks give what single reads give', () => {
  const image = Uint8Array.from({ length: 0x25000 }, (_, i) => (i * 7) ^ (i >> 8))
  let reads = 0
  const { read } = new Blocks((rva, length) => {
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

test('what lies in blocks that were not read ahead is not there once they are closed', () => {
  const image = Uint8Array.from({ length: 0x48000 }, (_, i) => i >> 12)
  const reads: number[] = []
  const blocks = new Blocks((rva, length) => {
    if (rva === 0x20000) throw new HotpatchError('MEMORY_UNREADABLE', 'a hole')
    reads.push(rva)
    return image.slice(rva, rva + length)
  }, image.length)
  blocks.ahead([0x1fff0, 0x47ff0, 0x5_0000], 0x100)
  expect(reads).toEqual([0x10000, 0x40000])
  blocks.close()
  expect(blocks.read(0x1fff0, 0x10)[0]).toBe(0x1f)
  for (const rva of [0, 0x1fff8, 0x20000, 0x30000]) expect(() => blocks.read(rva, 0x10)).toThrow(/TRUNCATED/)
  expect(reads).toEqual([0x10000, 0x40000])
})
