import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../errors.ts'
import type { HotPatchBase, HotPatchChunk, HotPatchTable } from './table.ts'
import { BASE_IMAGE_SIZE, FUNCTION, inverse, sampleBase, samplePatch, sampleTable } from './testing/sample.ts'
import { type TableFacts, validateHotPatchTable } from './validate.ts'

const facts: TableFacts = {
  machine: 'x64',
  segments: samplePatch().segments,
  relativeRelocations: [],
  imports: [],
  baseImageSize: BASE_IMAGE_SIZE,
}

const outcome = (table: HotPatchTable, changes: Partial<TableFacts> = {}): string => {
  try {
    validateHotPatchTable(table, { ...facts, ...changes })
  } catch (error) {
    if (error instanceof HotpatchError) return `${error.code}: ${error.detail}`
    throw error
  }
  return 'valid'
}

const ofChunks = (...chunks: HotPatchChunk[]): string => outcome(sampleTable(sampleBase(FUNCTION, ...chunks)))
const ofBase = (changes: Partial<HotPatchBase>): string => outcome(sampleTable({ ...sampleBase(FUNCTION), ...changes }))
const functions = (...pairs: [number, number][]): HotPatchChunk => ({ ...inverse('FUNCTION', ...pairs), inverse: false })

describe('validateHotPatchTable', () => {
  it('takes every kind of record that the engine carries out', () => {
    const chunks = [
      inverse('ABSOLUTE', [0x2000, 0x8000], [0x2008, BASE_IMAGE_SIZE]),
      inverse('INDIRECT', [0x2010, BASE_IMAGE_SIZE - 8]),
      inverse('REL32', [0x1001, 0], [0x1ffc, 0x8000]),
      inverse('ABSOLUTE32', [0x4ffc, 0x8000]),
    ]
    expect(ofChunks(...chunks)).toBe('valid')
  })

  it('takes distances of thread-local variables, of those that the image has', () => {
    const threadLocal = { rva: 0x2000, size: 0x20, distances: [{ rva: 0x2100, target: 0x2000 }] }
    const table = (...chunks: HotPatchChunk[]) => sampleTable(sampleBase(FUNCTION, ...chunks))
    expect(outcome(table(inverse('OWN_THREAD32', [0x1001, 0x2000], [0x1010, 0x2020])), { threadLocal })).toBe('valid')
    expect(outcome(table(inverse('OWN_THREAD32', [0x1001, 0x2021])), { threadLocal })).toMatch(
      /refers to RVA 0x2021, outside of the patch image's thread-local data/,
    )
    expect(outcome(table(inverse('OWN_THREAD32', [0x1001, 0])))).toMatch(/outside of the patch image's thread-local data/)
    expect(outcome(table(inverse('ABSOLUTE', [0x20fc, 0])), { threadLocal })).toMatch(
      /a thread-local relocation both write|and a thread-local relocation/,
    )
    expect(outcome(table(inverse('OWN_THREAD_HIGH12', [0x1000, 0x2000])), { threadLocal })).toMatch(/is in a patch image for x64/)
  })

  it('takes several variables for the number of one block, and nothing else in that field', () => {
    const threadLocal = { rva: 0x2000, size: 0x20, distances: [] }
    const table = (...chunks: HotPatchChunk[]) => sampleTable(sampleBase(FUNCTION, ...chunks))
    const number = inverse('OWN_THREAD_INDEX', [0x1000, 0x2000], [0x1000, 0x2008], [0x1004, 0x2000])
    expect(outcome(table(number), { threadLocal })).toBe('valid')
    expect(outcome(table(number, inverse('OWN_THREAD32', [0x1002, 0x2000])), { threadLocal })).toMatch(/both write at RVA 0x1002/)
    expect(outcome(table(inverse('OWN_THREAD_INDEX', [0x1000, 0x2000], [0x1002, 0x2000])), { threadLocal })).toMatch(/both write/)
    expect(outcome(table(inverse('OWN_THREAD_INDEX', [0x1000, 0x2021])), { threadLocal })).toMatch(
      /outside of the patch image's thread-local/,
    )
  })

  it.each<[string, HotPatchChunk, string]>([
    [
      'outside of the segments',
      inverse('ABSOLUTE', [0x5000, 0]),
      "would write 8 bytes at RVA 0x5000, outside of the patch image's segments",
    ],
    ['across the end of a segment', inverse('ABSOLUTE', [0x4ff9, 0]), 'would write 8 bytes at RVA 0x4ff9, outside'],
    ['across two segments', inverse('REL32', [0x1ffd, 0]), 'would write 4 bytes at RVA 0x1ffd, outside'],
    ['at the end of all numbers', inverse('REL32', [0xffffffff, 0]), 'would write 4 bytes at RVA 0xffffffff, outside'],
    ['to beyond the base image', inverse('ABSOLUTE', [0x2000, BASE_IMAGE_SIZE + 1]), 'refers to RVA 0x10001, outside of the base image'],
    [
      'through a slot at the very end',
      inverse('INDIRECT', [0x2000, BASE_IMAGE_SIZE - 7]),
      'refers to RVA 0xfff9, outside of the base image',
    ],
    ['twice to one place', inverse('ABSOLUTE', [0x2000, 0], [0x2000, 0]), 'both write at RVA 0x2000 of the patch image'],
    ['overlapping', inverse('ABSOLUTE', [0x2000, 0], [0x2007, 0]), 'both write at RVA 0x2007 of the patch image'],
    ['with functions that are inverse', { ...FUNCTION, inverse: true }, 'a chunk of type FUNCTION would be written into the patch image'],
    [
      'with references that are not',
      { ...inverse('REL32', [0x1000, 0]), inverse: false },
      'type REL32 would be written into the base image',
    ],
    [
      'with slots that are not',
      { ...inverse('INDIRECT', [0x2000, 0]), inverse: false },
      'type INDIRECT would be written into the base image',
    ],
    ['with a function twice', FUNCTION, 'a FUNCTION record and a FUNCTION record both write at RVA 0x4000 of the base image'],
    ['with functions too near to each other', functions([0x4003, 0x1000]), 'both write at RVA 0x4003 of the base image'],
    [
      'with a function outside of the base',
      functions([BASE_IMAGE_SIZE - 3, 0x1000]),
      'the function at RVA 0xfffd is outside of the base image',
    ],
    ['with a function at 0', functions([0, 0x1000]), 'the function at RVA 0x0 is outside of the base image'],
    ['with a new function in data', functions([0x5000, 0x3000]), 'redirected to RVA 0x3000, where the patch image has no code'],
    ['with a new function nowhere', functions([0x5000, 0x9000]), 'redirected to RVA 0x9000, where the patch image has no code'],
    [
      'with a new function at the end of the code',
      functions([0x5000, 0x2000]),
      'redirected to RVA 0x2000, where the patch image has no code',
    ],
  ])('refuses records %s', (_, chunk, why) => {
    const said = ofChunks(chunk)
    expect(said).toMatch(/^PATCH_RECORD_INVALID: /)
    expect(said).toContain(why)
  })

  it('refuses overlaps of different kinds, and with relocations', () => {
    expect(ofChunks(inverse('ABSOLUTE', [0x2000, 0]), inverse('REL32', [0x2004, 0]))).toMatch(
      /an? ABSOLUTE record and a REL32 record both write/,
    )
    const table = sampleTable(sampleBase(FUNCTION, inverse('ABSOLUTE', [0x2000, 0])))
    expect(outcome(table, { relativeRelocations: [{ rva: 0x2004 }] })).toMatch(
      /a relocation both write at RVA 0x2004|and a relocation both/,
    )
    expect(outcome(table, { relativeRelocations: [{ rva: 0x2008 }] })).toBe('valid')
    expect(outcome(table, { relativeRelocations: [{ rva: 0x3000 }, { rva: 0x3000 }] })).toMatch(
      /PATCH_RECORD_INVALID: a relocation and a relocation/,
    )
  })

  it('does not check RVAs of a base image that is not known', () => {
    const table = sampleTable(sampleBase(FUNCTION, inverse('ABSOLUTE', [0x2000, 0xffffffff])))
    expect(outcome(table, { baseImageSize: undefined })).toBe('valid')
  })

  it('passes over what the engine does not do, unless it is obligatory', () => {
    for (const type of ['CALL_TARGET', 'NO_CALL_TARGET', 'DYNAMIC_VALUE'] as const) {
      const chunk = inverse(type, [0xffffffff, 0xffffffff])
      expect(ofChunks({ ...chunk, obligatory: false })).toBe('valid')
      expect(ofChunks(chunk)).toBe(`PATCH_RECORD_UNSUPPORTED: an obligatory chunk is of type ${type}`)
    }
  })

  it('refuses tables that do not say which bytes they expect', () => {
    const table = {
      ...sampleTable(sampleBase({ ...FUNCTION, records: [{ source: 0x4000, target: 0x1000, extras: [] }] })),
      extraPatchSize: 0,
    }
    expect(outcome(table)).toMatch(/^PATCH_RECORD_INVALID: .*does not say which bytes are expected at the function at RVA 0x4000$/)
  })

  it('refuses tables that redirect nothing', () => {
    expect(outcome(sampleTable(sampleBase()))).toBe('PATCH_RECORD_INVALID: no function of the base image is redirected')
    expect(outcome(sampleTable())).toBe('PATCH_TABLE_MALFORMED: the hot patch table is for no base image')
  })

  it.each([
    [0x08, 'x64', true],
    [0x20, 'x64', true],
    [0x0b, 'x64', true],
    [0x10, 'x64', false],
    [0x04, 'x64', false],
    [0x00, 'x64', false],
    [0x10, 'arm64', true],
    [0x28, 'arm64', false],
  ] as const)('flags 0x%x on %s: %s', (flags, machine, fits) => {
    const said = outcome(sampleTable({ ...sampleBase(FUNCTION), flags }), { machine })
    expect(said === 'valid').toBe(fits)
    if (!fits) expect(said).toMatch(/^PATCH_WRONG_MACHINE: /)
  })

  it('refuses unknown flags, a lowest sequence number above its own, and two bases that are one', () => {
    expect(ofBase({ flags: 0x8000000a })).toBe('PATCH_TABLE_MALFORMED: the base image has unknown flags 0x80000000')
    expect(outcome({ ...sampleTable(sampleBase(FUNCTION)), flags: 3 })).toBe('valid')
    expect(outcome({ ...sampleTable(sampleBase(FUNCTION)), flags: 4 })).toBe(
      'PATCH_TABLE_MALFORMED: the hot patch table has unknown flags 0x4',
    )
    expect(outcome({ ...sampleTable(sampleBase(FUNCTION)), minSequenceNumber: 2 })).toMatch(
      /^PATCH_TABLE_MALFORMED: the lowest sequence number 2/,
    )
    expect(outcome(sampleTable(sampleBase(FUNCTION), sampleBase(FUNCTION)))).toMatch(
      /^PATCH_TABLE_MALFORMED: two base images have the same/,
    )
  })
})
