import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../errors.ts'
import { decodeHotPatchTable } from './decode.ts'
import { encodeHotPatchTable } from './encode.ts'
import { CHUNK_TYPES, type ChunkType, type HotPatchBase, type HotPatchTable } from './table.ts'

const u32 = fc.integer({ min: 0, max: 0xffffffff })
const types = Object.keys(CHUNK_TYPES) as ChunkType[]
const digest = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

const tables: fc.Arbitrary<HotPatchTable> = fc
  .record({ version: fc.integer({ min: 1, max: 4 }), extra: fc.nat(3) })
  .chain(({ version, extra }) => {
    const extraPatchSize = version < 3 ? 0 : extra
    const from = (least: number) => (version < least ? fc.constant(0) : u32)
    const record = fc.record({ source: u32, target: u32, extras: fc.array(u32, { minLength: extraPatchSize, maxLength: extraPatchSize }) })
    const chunk = fc.record({
      type: fc.constantFrom(...types),
      inverse: fc.boolean(),
      obligatory: fc.boolean(),
      records: fc.array(record, { minLength: 1, maxLength: 5 }),
    })
    const base: fc.Arbitrary<HotPatchBase> = fc.record({
      sequenceNumber: u32,
      flags: u32,
      originalTimeDateStamp: u32,
      originalCheckSum: u32,
      hashes: fc.option(fc.record({ sha256: digest(32), sha1: digest(20) }), { nil: undefined }),
      bufferOffset: from(2),
      chunks: fc.array(chunk, { maxLength: 4 }),
    })
    return fc.record({
      version: fc.constant(version),
      sequenceNumber: u32,
      bufferOffset: from(2),
      extraPatchSize: fc.constant(extraPatchSize),
      minSequenceNumber: from(4),
      flags: from(4),
      bases: fc.array(base, { maxLength: 3 }),
    })
  })

/** Version 4, one base at 40, hashes at 72, chunks at 124: see encode.test.ts. */
const sample: HotPatchTable = {
  version: 4,
  sequenceNumber: 7,
  bufferOffset: 0,
  extraPatchSize: 1,
  minSequenceNumber: 3,
  flags: 0,
  bases: [
    {
      sequenceNumber: 7,
      flags: 0x0a,
      originalTimeDateStamp: 1,
      originalCheckSum: 2,
      hashes: { sha256: new Uint8Array(32).fill(0xaa), sha1: new Uint8Array(20).fill(0xbb) },
      bufferOffset: 0,
      chunks: [{ type: 'FUNCTION', inverse: false, obligatory: true, records: [{ source: 0x1234, target: 0x1000, extras: [1] }] }],
    },
  ],
}

/** The sample with words changed, by their offset. */
const changed = (changes: Record<number, number>): Uint8Array => {
  const bytes = encodeHotPatchTable(sample)
  const view = new DataView(bytes.buffer)
  for (const [at, word] of Object.entries(changes)) view.setUint32(Number(at), word, true)
  return bytes
}

const detailOf = (bytes: Uint8Array): string => {
  try {
    decodeHotPatchTable(bytes)
  } catch (error) {
    if (error instanceof HotpatchError && error.code === 'PATCH_TABLE_MALFORMED') return error.detail
    throw error
  }
  return 'read'
}

describe('decodeHotPatchTable', () => {
  it('reads what was written, whatever follows it', () => {
    fc.assert(
      fc.property(tables, fc.uint8Array({ maxLength: 16 }), (table, behind) => {
        const bytes = encodeHotPatchTable(table)
        expect(decodeHotPatchTable(Uint8Array.from([...bytes, ...behind]))).toEqual(table)
      }),
    )
  })

  it.each<[string, Record<number, number>, string]>([
    ['version 0', { 0: 0 }, 'the hot patch table says that it is of version 0, there are 1 to 4'],
    ['version 5', { 0: 5 }, 'the hot patch table says that it is of version 5, there are 1 to 4'],
    ['a Size beyond the data', { 4: 145 }, 'the hot patch table says that it has 145 bytes, of 144 that there are'],
    ['a Size below the header', { 4: 35 }, 'the hot patch table says that it has 35 bytes, of 144 that there are'],
    ['a Size that cuts the chunks', { 4: 140 }, 'chunk 1 of base image 0: no room for 4 bytes at offset 140 of 140'],
    ['a list beyond the end', { 12: 144 }, 'the list of base images: no room for 4 bytes at offset 144 of 144'],
    ['a list that wraps around', { 12: 0xfffffffc }, 'the list of base images: no room for 4 bytes at offset 4294967292 of 144'],
    ['a list in the header', { 12: 32 }, 'the list of base images: the bytes at offset 32 belong to another part'],
    ['a list at an odd offset', { 12: 37 }, 'the list of base images: offset 37 is no multiple of 4'],
    ['more bases than there can be', { 16: 0xffffffff }, 'the list of base images: no room for 17179869180 bytes at offset 36 of 144'],
    ['a base in the list', { 36: 36 }, 'base image 0: the bytes at offset 36 belong to another part'],
    ['a base beyond the end', { 36: 116 }, 'base image 0: no room for 32 bytes at offset 116 of 144'],
    ['hashes of another size', { 60: 32 }, 'the hashes of base image 0 take 32 bytes, they must take 52'],
    ['hashes in the header', { 56: 0 }, 'the hashes of base image 0: the bytes at offset 0 belong to another part'],
    ['chunks in the hashes', { 64: 120 }, 'chunk 0 of base image 0: the bytes at offset 120 belong to another part'],
    ['a reserved bit', { 124: 0x0001d001 }, 'chunk 0 of base image 0 has reserved bits 0x1000 set'],
    ['the highest reserved bit', { 124: 0x2001c001 }, 'chunk 0 of base image 0 has reserved bits 0x20000000 set'],
    ['an unknown type', { 124: 0x00010001 }, 'chunk 0 of base image 0 is of type 0x10000, which is none'],
    ['no records', { 124: 0x0001c000 }, 'chunk 0 of base image 0 has no records'],
    ['more records than fit', { 124: 0x0001cfff }, 'the records of chunk 0 of base image 0: no room for 49140 bytes at offset 128 of 144'],
    [
      'extras that do not fit',
      { 24: 0xffffffff },
      'the records of chunk 0 of base image 0: no room for 17179869188 bytes at offset 128 of 144',
    ],
    ['no end', { 140: 0x0001c001 }, 'the records of chunk 1 of base image 0: no room for 12 bytes at offset 144 of 144'],
  ])('refuses %s', (_, changes, detail) => {
    expect(detailOf(changed(changes))).toBe(detail)
  })

  it('refuses two bases that share their chunks', () => {
    const two = encodeHotPatchTable({ ...sample, bases: [...sample.bases, ...sample.bases] })
    const view = new DataView(two.buffer)
    const [first, second] = [view.getUint32(36, true), view.getUint32(40, true)]
    view.setUint32(second + 24, view.getUint32(first + 24, true), true)
    expect(detailOf(two)).toMatch(/^chunk 0 of base image 1: the bytes at offset \d+ belong to another part/)
  })

  it('refuses every table that is cut off', () => {
    const bytes = encodeHotPatchTable(sample)
    for (let length = 0; length < bytes.length; length++) expect(detailOf(bytes.subarray(0, length))).not.toBe('read')
  })

  it('reads or refuses any damaged table', () => {
    fc.assert(
      fc.property(tables, fc.array(fc.tuple(fc.nat(), u32), { minLength: 1, maxLength: 4 }), (table, changes) => {
        const bytes = encodeHotPatchTable(table)
        const view = new DataView(bytes.buffer)
        for (const [where, word] of changes) view.setUint32(4 * (where % (bytes.length / 4)), word, true)
        expect(typeof detailOf(bytes)).toBe('string')
      }),
      { numRuns: 500 },
    )
  })

  it('reads or refuses any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 256 }), (bytes) => {
        expect(typeof detailOf(bytes)).toBe('string')
      }),
    )
  })
})
