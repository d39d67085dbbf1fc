import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PatchImage } from './image.ts'
import { placeImage, reachOf } from './place.ts'
import type { HotPatchBase } from './table.ts'
import { inverse, samplePatch } from './testing/sample.ts'

const entryOf = (image: PatchImage): HotPatchBase => image.table.bases[0] as HotPatchBase
const never = (): Uint8Array => {
  throw new Error('nothing is to be read')
}
const place = (
  image: PatchImage,
  imageAddress: bigint,
  baseAddress: bigint,
  read: (address: bigint, length: number) => Uint8Array = never,
) => placeImage(image, entryOf(image), { imageAddress, baseAddress, read, imports: new Map() })

/** 8 or 4 bytes of what was placed, as a number. */
const at = (placed: ReturnType<typeof place>, rva: number, width: 4 | 8): bigint => {
  const segment = placed.find((s) => rva >= s.rva && rva < s.rva + s.size)
  if (segment === undefined) throw new Error('no segment')
  return Buffer.from(segment.content)[width === 8 ? 'readBigUInt64LE' : 'readUInt32LE'](rva - segment.rva) as unknown as bigint
}

const reach = (image: PatchImage, baseAddress: bigint) => reachOf(image, entryOf(image), baseAddress)
const outOfReach = expect.objectContaining({ code: 'PATCH_OUT_OF_REACH' })

describe('placeImage', () => {
  const base = 0x5555_5555_4000n

  it('relocates, and writes every kind of record', () => {
    const image: PatchImage = {
      ...samplePatch(
        inverse('ABSOLUTE', [0x2000, 0x8010]),
        inverse('REL32', [0x1001, 0x6000], [0x1010, 0xfff0]),
        inverse('INDIRECT', [0x2008, 0x9000]),
      ),
      relativeRelocations: [
        { rva: 0x2010, addend: 0x1020n },
        { rva: 0x4008, addend: -1n },
      ],
    }
    const imageAddress = base + 0x20000n
    const asked: [bigint, number][] = []
    const placed = place(image, imageAddress, base, (address, length) => {
      asked.push([address, length])
      return Uint8Array.of(0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01)
    })
    expect(at(placed, 0x2000, 8)).toBe(base + 0x8010n)
    expect(at(placed, 0x1001, 4)).toBe(0x6000 - 0x20000 - 0x1005 + 0x1_0000_0000)
    expect(at(placed, 0x1010, 4)).toBe(0xfff0 - 0x20000 - 0x1014 + 0x1_0000_0000)
    expect(at(placed, 0x2008, 8)).toBe(0x0123456789abcdefn)
    expect(asked).toEqual([[base + 0x9000n, 8]])
    expect(at(placed, 0x2010, 8)).toBe(imageAddress + 0x1020n)
    // Behind what the file has of the segment.
    expect(at(placed, 0x4008, 8)).toBe(imageAddress - 1n)
  })

  it('leaves everything else alone, the image that it was given included', () => {
    const image = samplePatch(inverse('ABSOLUTE', [0x3004, 0]))
    const before = image.segments.map((s) => Buffer.from(s.content).toString('hex'))
    const placed = place(image, base + 0x20000n, base)
    expect(image.segments.map((s) => Buffer.from(s.content).toString('hex'))).toEqual(before)
    expect(placed.map(({ rva, size, protection }) => [rva, size, protection])).toEqual(
      image.segments.map(({ rva, size, protection }) => [rva, size, protection]),
    )
    expect(placed.slice(0, 3)).toEqual(image.segments.slice(0, 3))
    expect(Buffer.from(placed[3]?.content ?? []).toString('hex')).toBe('222222220040555555550000' + '22222222')
  })

  it('writes 32-bit addresses below 2 GB and refuses others', () => {
    const image = samplePatch(inverse('ABSOLUTE32', [0x1004, 0xfff]))
    expect(at(place(image, 0x500000n, 0x400000n), 0x1004, 4)).toBe(0x400fff)
    expect(at(place(image, 0x500000n, 0x7ffff000n), 0x1004, 4)).toBe(0x7fffffff)
    expect(() => place(image, 0x500000n, 0x80000000n)).toThrowError(outOfReach)
  })

  it('reaches to the last byte and no further', () => {
    const image = samplePatch(inverse('REL32', [0x1000, 0x8000]))
    // The field is 0x8000 - 0x1004 when both lie at the same address.
    const highest = base + 0x8000n - 0x1004n + 0x8000_0000n
    const lowest = base + 0x8000n - 0x1004n - 0x7fff_ffffn
    expect(at(place(image, highest, base), 0x1000, 4)).toBe(0x80000000)
    expect(at(place(image, lowest, base), 0x1000, 4)).toBe(0x7fffffff)
    expect(() => place(image, highest + 1n, base)).toThrowError(outOfReach)
    expect(() => place(image, lowest - 1n, base)).toThrowError(outOfReach)
  })

  it('refuses to write outside of the segments', () => {
    for (const rva of [0x5000, 0x4ffc, 0x2ffc]) {
      const image = { ...samplePatch(), relativeRelocations: [{ rva, addend: 0n }] }
      expect(() => place(image, base, base)).toThrowError(expect.objectContaining({ code: 'PATCH_RECORD_INVALID' }))
    }
    const holes = { ...samplePatch(), segments: samplePatch().segments.filter((s) => s.rva !== 0x2000) }
    expect(() => place({ ...holes, relativeRelocations: [{ rva: 0x2000, addend: 0n }] }, base, base)).toThrowError(
      expect.objectContaining({ code: 'PATCH_RECORD_INVALID' }),
    )
  })
})

describe('reachOf', () => {
  it('is everywhere for an image without 32-bit references', () => {
    expect(reach(samplePatch(inverse('ABSOLUTE', [0x2000, 0])), 0x5555_5555_4000n)).toEqual({ low: 0n, high: 1n << 47n })
  })

  it('is what the records really need', () => {
    const base = 0x5555_5555_4000n
    // 0x8000 - 0x1000 - 4 = 0x6ffc at equal addresses; minus 0x7fffffff and plus 0x80000000, to pages, inwards.
    expect(reach(samplePatch(inverse('REL32', [0x1000, 0x8000])), base)).toEqual({
      low: base - 0x7fff_9000n,
      high: base + 0x8000_6000n + 0x5000n,
    })
  })

  it('keeps inside the address space', () => {
    const image = samplePatch(inverse('REL32', [0x1000, 0x8000]))
    expect(reach(image, 0x40_0000n).low).toBe(0n)
    expect(reach(image, 0x7fff_ffff_0000n).high).toBe(1n << 47n)
  })

  it('says when the base image is too high for 32-bit addresses, or nothing fits', () => {
    const low = samplePatch(inverse('ABSOLUTE32', [0x1004, 0x1000]))
    expect(reach(low, 0x40_0000n)).toEqual({ low: 0n, high: 1n << 47n })
    expect(() => reach(low, 0x5555_5555_4000n)).toThrowError(outOfReach)
    expect(() => reach(samplePatch(inverse('REL32', [0x1000, 0x8000])), 1n << 52n)).toThrowError(outOfReach)
  })

  it('is exactly where placing succeeds, page by page', () => {
    const pairs = fc.array(fc.tuple(fc.integer({ min: 0x1000, max: 0x1ffc }), fc.integer({ min: 0, max: 0x10000 })), {
      minLength: 1,
      maxLength: 1,
    })
    fc.assert(
      fc.property(pairs, fc.bigInt(0x10_0000n, 0x7fff_0000n), (records, pages) => {
        const base = pages * 0x1000n
        const image = samplePatch(inverse('REL32', ...records))
        const { low, high } = reach(image, base)
        const highest = high - 0x5000n
        const fits = (imageAddress: bigint): boolean => {
          try {
            place(image, imageAddress, base)
            return true
          } catch {
            return false
          }
        }
        expect([fits(low), fits(highest)]).toEqual([true, true])
        if (low > 0n) expect(fits(low - 0x1000n)).toBe(false)
        if (high < 1n << 47n) expect(fits(highest + 0x1000n)).toBe(false)
      }),
    )
  })
})
