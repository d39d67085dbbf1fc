/** The conformance cases of findPlace, map and unmap. */
import assert from 'node:assert/strict'
import type { MapRequest, Process } from '../contract.ts'
import { type CaseContext, type ConformanceCase, throwsCode } from './case.ts'

const SIZE = 0x4000
const NAME = 'hotpatch:conformance'

/** r, rx and rw pages, the last one twice as long as its content. */
function request(address: bigint): MapRequest {
  const filled = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff)
  return {
    address,
    name: NAME,
    segments: [
      { offset: 0, size: 0x1000, protection: 'r', content: filled(0x1000, 1) },
      { offset: 0x1000, size: 0x1000, protection: 'rx', content: filled(0x800, 2) },
      { offset: 0x2000, size: 0x2000, protection: 'rw', content: filled(0x1000, 3) },
    ],
  }
}

function findPlaceNear(process: Process, size = SIZE): { place: bigint; near: bigint } {
  const main = process.modules()[0]
  assert.ok(main)
  const near = main.base + BigInt(main.size)
  const low = near > 0x7000_0000n ? near - 0x7000_0000n : 0n
  const place = process.findPlace({ size, near, low, high: near + 0x7000_0000n })
  assert.ok(place !== undefined, 'there is no place near the program')
  return { place, near }
}

const covered = (process: Process, from: bigint, to: bigint) =>
  process.regions().filter((region) => region.start < to && region.end > from && (region.read || region.write || region.execute))

/** Asserts that the request is mapped exactly as asked. */
function assertMapped({ host, process }: CaseContext, wanted: MapRequest): void {
  for (const segment of wanted.segments) {
    const from = wanted.address + BigInt(segment.offset)
    const expected = new Uint8Array(segment.size)
    expected.set(segment.content)
    assert.ok(Buffer.from(process.read(from, segment.size)).equals(expected), `the content at offset ${segment.offset} differs`)
    const regions = covered(process, from, from + BigInt(segment.size))
    assert.ok(regions.length > 0)
    for (const region of regions) {
      const shown = { read: region.read, write: region.write, execute: region.execute }
      const write = segment.protection === 'rw'
      const execute = segment.protection === 'rx'
      assert.deepEqual(shown, { read: true, write, execute }, `protection at offset ${segment.offset}`)
      if (host.showsNames) assert.ok(region.name.includes(wanted.name), `the region is named "${region.name}"`)
    }
  }
}

export const MAPPING_CASES: readonly ConformanceCase[] = [
  {
    name: 'findPlace: near, free, aligned, inside the bounds',
    async run({ process }) {
      const { place, near } = findPlaceNear(process)
      assert.equal(place % 0x1000n, 0n)
      assert.deepEqual(covered(process, place, place + BigInt(SIZE)), [])
      const distance = place > near ? place - near : near - place
      assert.ok(distance < 0x7000_0000n)
    },
  },
  {
    name: 'findPlace: undefined where the bounds leave no room',
    async run({ process }) {
      const main = process.modules()[0]
      assert.ok(main)
      assert.equal(process.findPlace({ size: 0x1000, near: main.base, low: main.base, high: main.base + 0x1000n }), undefined)
    },
  },
  {
    name: 'map: segments with their contents, protections and name; the main program stays first; unmap removes all',
    async run(context) {
      const { process, control } = context
      await control.setWorkers(2)
      const { place } = findPlaceNear(process)
      const modules = process.modules()
      const wanted = request(place)
      process.map(wanted)
      assertMapped(context, wanted)
      assert.deepEqual(process.modules(), modules, 'the mapping is shown as a module')
      await control.grows('old')
      process.write(place + 0x2000n, Uint8Array.of(1, 2, 3))
      process.write(place + 0x1000n, Uint8Array.of(4, 5, 6))
      assert.deepEqual([...process.read(place + 0x1000n, 3)], [4, 5, 6])
      process.unmap(place, SIZE)
      assert.deepEqual(covered(process, place, place + BigInt(SIZE)), [])
      await control.grows('old')
    },
  },
  {
    name: 'map: the bytes of a target that spins, with no thread in a system call',
    async run(context) {
      await context.control.startSpinning()
      const wanted = request(findPlaceNear(context.process).place)
      context.process.map(wanted)
      assertMapped(context, wanted)
      await context.control.stopSpinning()
    },
  },
  {
    name: 'map: a place that is taken is PLACE_TAKEN, what was there stays',
    async run(context) {
      const { process } = context
      const main = process.modules()[0]
      assert.ok(main)
      const { place } = findPlaceNear(process)
      const wanted = request(place)
      process.map(wanted)
      const shadow: MapRequest = { ...request(place), name: 'hotpatch:other' }
      throwsCode('PLACE_TAKEN', () => process.map(shadow))
      assertMapped(context, wanted)
      throwsCode('PLACE_TAKEN', () => process.map(request(main.base)))
    },
  },
  {
    name: 'map: everything or nothing: a taken last page leaves the first pages free',
    async run({ process }) {
      const { place } = findPlaceNear(process, 0x40000)
      const blockade = place + 0x10000n
      const page = { offset: 0, size: 0x1000, protection: 'r', content: Uint8Array.of(9) } as const
      process.map({ address: blockade, name: 'hotpatch:blockade', segments: [page] })
      const start = blockade - 0x3000n
      // On a system with a coarser grain than a page the start must be on that grain, so the blockade lies within the last segment.
      const address = process.findPlace({ size: 0x1000, near: start, low: start, high: start + 0x1000n }) === start ? start : place
      const size = Number(blockade - address)
      throwsCode('PLACE_TAKEN', () =>
        process.map({
          address,
          name: NAME,
          segments: [
            { offset: 0, size: 0x1000, protection: 'rx', content: Uint8Array.of(1) },
            { offset: 0x1000, size, protection: 'rw', content: Uint8Array.of(2) },
          ],
        }),
      )
      assert.deepEqual(covered(process, address, blockade), [])
      assert.equal(process.read(blockade, 1)[0], 9)
    },
  },
  {
    name: 'map: thirty images, each unmapped again, leave the memory map as it was',
    async run({ process, control }) {
      await control.setWorkers(3)
      const shape = () => process.regions().map((region) => `${region.start.toString(16)} ${region.end.toString(16)} ${region.name}`)
      const before = shape().length
      for (let round = 0; round < 30; round++) {
        const { place } = findPlaceNear(process)
        process.map(request(place))
        process.unmap(place, SIZE)
      }
      assert.ok(Math.abs(shape().length - before) <= 2, 'regions are left behind')
      assert.equal(process.regions().filter((region) => region.name.includes('hotpatch:')).length, 0)
      await control.grows('old')
    },
  },
  {
    name: 'switchCode: copies memory of the target before it writes; with a blocker it does neither',
    async run({ target, process }) {
      const { place } = findPlaceNear(process, 0x24000)
      const content = Uint8Array.from({ length: 0x12000 }, (_, i) => (i * 5 + 1) & 0xff)
      const segments = [
        { offset: 0, size: 0x12000, protection: 'r', content },
        { offset: 0x12000, size: 0x12000, protection: 'rw', content: new Uint8Array() },
      ] as const
      process.map({ address: place, name: NAME, segments })
      const copies = [
        { from: place + 5n, to: place + 0x12000n + 8n, length: 0x11003 },
        { from: target.symbols.data, to: place + 0x23010n, length: 8 },
      ]
      const writes = [{ address: place + 0x23010n, bytes: Uint8Array.of(0xee) }]
      const outcome = process.switchCode({
        copies,
        writes,
        stopTimeout: 5000,
        inspect: (stopped) => ({ threadId: stopped.id(0), instructionPointer: 0n, guard: 0 }),
      })
      assert.equal(outcome.switched, false)
      assert.ok(process.read(place + 0x12000n, 0x12000).every((byte) => byte === 0))

      process.switchCode({ copies, writes, stopTimeout: 5000, inspect: () => undefined })
      assert.ok(Buffer.from(process.read(place + 0x12008n, 0x11003)).equals(content.subarray(5, 0x11008)))
      const data = process.read(target.symbols.data, 8)
      data[0] = 0xee
      assert.deepEqual(process.read(place + 0x23010n, 8), data)
      process.unmap(place, 0x24000)
    },
  },
]
