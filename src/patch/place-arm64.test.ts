import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeWord, wordAt } from '../machine/arm64/instructions.ts'
import { hotPatchBaseFlags } from './encode.ts'
import type { PatchImage } from './image.ts'
import { placeImage, reachOf } from './place.ts'
import type { HotPatchBase, HotPatchChunk } from './table.ts'
import { inverse, samplePatch } from './testing/sample.ts'
import { validateHotPatchTable } from './validate.ts'

const CODE = 0x1000
const ADRP_X16 = 0x90000010
const BL = 0x94000000

/** Its code begins with ADRP at CODE + 4 and BL at CODE + 8. */
function arm64Patch(...chunks: readonly HotPatchChunk[]): PatchImage {
  const patch = samplePatch(...chunks)
  const segments = patch.segments.map((segment) => {
    if (segment.rva !== CODE) return segment
    const content = new Uint8Array(32)
    new DataView(content.buffer).setUint32(4, ADRP_X16, true)
    new DataView(content.buffer).setUint32(8, BL, true)
    return { ...segment, content }
  })
  return { ...patch, machine: 'arm64', segments }
}

const entryOf = (image: PatchImage): HotPatchBase => image.table.bases[0] as HotPatchBase
const never = (): Uint8Array => {
  throw new Error('nothing is to be read')
}
const wordsPlaced = (image: PatchImage, imageAddress: bigint, baseAddress: bigint): [number, number] => {
  const placed = placeImage(image, entryOf(image), { imageAddress, baseAddress, read: never, imports: new Map() })
  const { content } = placed.find(({ rva }) => rva === CODE) as { content: Uint8Array }
  return [wordAt(content, 4), wordAt(content, 8)]
}

const BASE = 0xaaaa_0000_0000n
const page = (address: bigint): bigint => address - (address % 4096n)

describe('records of ARM64', () => {
  it('fill the field of an instruction and leave the rest of it alone, wherever the images lie', () => {
    const pages = fc.integer({ min: -0x7f00, max: 0x7f00 })
    fc.assert(
      fc.property(pages, fc.nat(0x3fff), fc.nat(0xfff), (distance, target, branch) => {
        const image = arm64Patch(inverse('PAGE21', [CODE + 4, target]), inverse('BRANCH26', [CODE + 8, branch * 4]))
        const imageAddress = BASE + BigInt(distance) * 4096n
        const [adrp, bl] = wordsPlaced(image, imageAddress, BASE)
        const place = imageAddress + BigInt(CODE)
        expect(adrp & 0x9f00001f).toBe(ADRP_X16 & 0x9f00001f)
        expect(page(place + 4n) + BigInt(decodeWord(adrp).distance as number)).toBe(page(BASE + BigInt(target)))
        expect(decodeWord(bl).form).toBe('bl')
        expect(place + 8n + BigInt(decodeWord(bl).distance as number)).toBe(BASE + BigInt(branch * 4))
      }),
    )
  })

  it('say where the patch image may lie: a place at the edge works, one beyond does not', () => {
    const MB = 1n << 20n
    const branch = arm64Patch(inverse('BRANCH26', [CODE + 8, 0x100]))
    const { low, high } = reachOf(branch, entryOf(branch), BASE)
    const size = BigInt(branch.imageSize)
    expect(BASE - low).toBeLessThanOrEqual(128n * MB + size)
    for (const at of [low, high - size]) wordsPlaced(branch, at, BASE)
    for (const at of [low - 4096n, high - size + 4096n])
      expect(() => wordsPlaced(branch, at, BASE)).toThrow(expect.objectContaining({ code: 'PATCH_OUT_OF_REACH' }))

    const paged = arm64Patch(inverse('PAGE21', [CODE + 4, 0x100]))
    const range = reachOf(paged, entryOf(paged), BASE)
    expect(range.high - range.low).toBeGreaterThan(8180n * MB)
    for (const at of [range.low, range.high - size]) wordsPlaced(paged, at, BASE)
  })

  it('reach a base image where ARM64 has programs, above 2^47', () => {
    const image = arm64Patch(inverse('BRANCH26', [CODE + 8, 0x100]))
    expect(reachOf(image, entryOf(image), 0xfff0_0000_0000n).high).toBeGreaterThan(1n << 47n)
  })

  it('are refused in a patch image for x64', () => {
    for (const type of ['PAGE21', 'BRANCH26'] as const) {
      const validate = (machine: 'x64' | 'arm64'): void => {
        const image = arm64Patch(inverse(type, [CODE + 4, 0x100]))
        const flags = hotPatchBaseFlags({ machine, obligatory: true, canRollBack: true })
        const table = { ...image.table, bases: image.table.bases.map((base) => ({ ...base, flags })) }
        validateHotPatchTable(table, { machine, segments: image.segments, relativeRelocations: [], imports: [], baseImageSize: undefined })
      }
      expect(() => validate('arm64')).not.toThrow()
      expect(() => validate('x64')).toThrow(expect.objectContaining({ code: 'PATCH_RECORD_INVALID' }))
    }
  })
})
