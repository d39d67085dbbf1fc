import { describe, expect, it } from 'vitest'
import { encodeHotPatchTable, hotPatchBaseFlags } from './encode.ts'
import type { HotPatchTable } from './table.ts'

/** Little-endian u32s; a string stands for raw bytes in hexadecimal. */
const words = (...parts: (number | string)[]): Uint8Array =>
  Uint8Array.from(
    Buffer.concat(
      parts.map((part) => {
        if (typeof part === 'string') return Buffer.from(part, 'hex')
        const word = Buffer.alloc(4)
        word.writeUInt32LE(part)
        return word
      }),
    ),
  )

const table4: HotPatchTable = {
  version: 4,
  sequenceNumber: 7,
  bufferOffset: 0,
  extraPatchSize: 1,
  minSequenceNumber: 3,
  flags: 2,
  bases: [
    {
      sequenceNumber: 7,
      flags: 0x0a,
      originalTimeDateStamp: 0x11223344,
      originalCheckSum: 0x55667788,
      hashes: { sha256: new Uint8Array(32).fill(0xaa), sha1: new Uint8Array(20).fill(0xbb) },
      bufferOffset: 0,
      chunks: [
        { type: 'FUNCTION', inverse: false, obligatory: true, records: [{ source: 0x1234, target: 0x1000, extras: [0xe5894855] }] },
        {
          type: 'ABSOLUTE',
          inverse: true,
          obligatory: true,
          records: [
            { source: 0x3000, target: 0x4040, extras: [0] },
            { source: 0x3008, target: 0x4048, extras: [0] },
          ],
        },
      ],
    },
  ],
}

describe('encodeHotPatchTable', () => {
  it('lays out version 4 as winnt.h has it', () => {
    // Worked out by hand: the header has 36 bytes, so the list is at 36, the base at 40 with 32 bytes, the hashes at 72 with 52,
    // the chunks at 124: 4 + 12 and 4 + 24 and the ending word.
    expect(encodeHotPatchTable(table4)).toEqual(
      words(
        ...[4, 172, 7, 36, 1, 0, 1, 3, 2],
        ...[40],
        ...[7, 0x0a, 0x11223344, 0x55667788, 72, 52, 124, 0],
        ...['aa'.repeat(32), 'bb'.repeat(20)],
        ...[0x4001c001, 0x1234, 0x1000, 0xe5894855],
        ...[0xc002c002, 0x3000, 0x4040, 0, 0x3008, 0x4048, 0],
        0,
      ),
    )
  })

  it('cuts header and bases to what version 1 has', () => {
    const chunk = { type: 'REL32', inverse: true, obligatory: false, records: [{ source: 0x10, target: 0x20, extras: [] }] } as const
    const base = {
      sequenceNumber: 1,
      flags: 8,
      originalTimeDateStamp: 1,
      originalCheckSum: 2,
      hashes: undefined,
      bufferOffset: 0,
      chunks: [chunk],
    }
    const table = {
      version: 1,
      sequenceNumber: 1,
      bufferOffset: 0,
      extraPatchSize: 0,
      minSequenceNumber: 0,
      flags: 0,
      bases: [base, { ...base, chunks: [] }],
    }
    expect(encodeHotPatchTable(table)).toEqual(
      words(...[1, 104, 1, 20, 2], ...[28, 56], ...[1, 8, 1, 2, 0, 0, 84], ...[1, 8, 1, 2, 0, 0, 100], ...[0x8003c001, 0x10, 0x20, 0], 0),
    )
  })

  it.each([
    [1, 20, 28],
    [2, 24, 32],
    [3, 28, 32],
    [4, 36, 32],
  ])('version %i: a header of %i bytes, bases of %i', (version, header, base) => {
    const out = encodeHotPatchTable({
      version,
      sequenceNumber: 1,
      bufferOffset: 0,
      extraPatchSize: 0,
      minSequenceNumber: 0,
      flags: 0,
      bases: [
        { sequenceNumber: 1, flags: 8, originalTimeDateStamp: 0, originalCheckSum: 0, hashes: undefined, bufferOffset: 0, chunks: [] },
      ],
    })
    expect(out.length).toBe(header + 4 + base + 4)
  })

  it('cuts a chunk of more records than its header can count', () => {
    const records = Array.from({ length: 4096 }, (_, i) => ({ source: 8 * i, target: 16, extras: [0] }))
    const base = { ...(table4.bases[0] as HotPatchTable['bases'][0]), hashes: undefined }
    const out = encodeHotPatchTable({
      ...table4,
      bases: [{ ...base, chunks: [{ type: 'ABSOLUTE', inverse: true, obligatory: true, records }] }],
    })
    const view = new DataView(out.buffer)
    expect(view.getUint32(72, true)).toBe(0xc002cfff)
    expect(view.getUint32(72 + 4 + 12 * 4095, true)).toBe(0xc002c001)
    expect(view.getUint32(72 + 4 + 12 * 4095 + 4, true)).toBe(8 * 4095)
    expect(out.length).toBe(72 + 4 + 12 * 4095 + 4 + 12 + 4)
  })

  it('refuses what a version cannot hold', () => {
    const cases: Partial<HotPatchTable>[] = [
      { version: 5 },
      { version: 3 },
      { version: 2, minSequenceNumber: 0, flags: 0 },
      { extraPatchSize: 2 },
      { version: 1, flags: 0, minSequenceNumber: 0, extraPatchSize: 0, bufferOffset: 8, bases: [] },
    ]
    for (const change of cases)
      expect(() => encodeHotPatchTable({ ...table4, ...change })).toThrowError(expect.objectContaining({ code: 'DEFECT' }))
  })
})

describe('hotPatchBaseFlags', () => {
  it('puts the machine bits from bit 2', () => {
    expect(hotPatchBaseFlags({ machine: 'x64', obligatory: false, canRollBack: true })).toBe(0x0a)
    expect(hotPatchBaseFlags({ machine: 'arm64', obligatory: true, canRollBack: false })).toBe(0x11)
  })
})
