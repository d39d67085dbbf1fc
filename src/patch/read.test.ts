import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ImageTlsDirectory64 } from '../binary/pe/definitions.ts'
import { directory, readPe } from '../binary/pe/reader.ts'
import { viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import { agree } from './agree.ts'
import type { PatchImage } from './image.ts'
import { placeImage, reachOf } from './place.ts'
import { isPatchImage, readPatchImage } from './read.ts'
import type { HotPatchBase } from './table.ts'
import { samplePatch } from './testing/sample.ts'

const fixture = (name: string): Uint8Array => Uint8Array.from(readFileSync(new URL(`./fixtures/${name}`, import.meta.url)))
const elf = fixture('gnu-ld.so')
const pe = fixture('lld-link.dll')

/** The file with bytes (in hexadecimal) at an offset replaced. */
const changed = (file: Uint8Array, at: number, bytes: string): Uint8Array => {
  const copy = file.slice()
  copy.set(Buffer.from(bytes.replaceAll(' ', ''), 'hex'), at)
  return copy
}

/** The file with a text in it replaced by one of the same length. */
const replaced = (file: Uint8Array, from: string, to: string): Uint8Array => {
  const at = Buffer.from(file).indexOf(from, 0, 'latin1')
  if (at < 0 || from.length !== to.length) throw new Error(`cannot replace ${from}`)
  return changed(file, at, Buffer.from(to, 'latin1').toString('hex'))
}

const outcome = (file: Uint8Array): string => {
  try {
    readPatchImage(file)
  } catch (error) {
    if (error instanceof HotpatchError) return `${error.code}: ${error.detail}`
    throw error
  }
  return 'read'
}

/** What fixtures/table.inc says. */
const CHUNKS: HotPatchBase['chunks'] = [
  {
    type: 'FUNCTION',
    inverse: false,
    obligatory: true,
    records: [
      { source: 0x4000, target: 0x1000, extras: [0xfa1e0ff3] },
      { source: 0x4100, target: 0x1010, extras: [0x90669066] },
    ],
  },
  { type: 'ABSOLUTE', inverse: true, obligatory: true, records: [{ source: 0x3010, target: 0x8000, extras: [0] }] },
  { type: 'REL32', inverse: true, obligatory: true, records: [{ source: 0x1013, target: 0x9000, extras: [0] }] },
  { type: 'INDIRECT', inverse: true, obligatory: true, records: [{ source: 0x3018, target: 0xa000, extras: [0] }] },
]

const segmentsOf = (image: PatchImage) =>
  image.segments.map(({ rva, size, protection, content }) => [rva, size, protection, content.length])

describe('readPatchImage', () => {
  it('reads a shared object', () => {
    const image = readPatchImage(elf)
    expect([image.format, image.machine, image.imageSize]).toEqual(['elf', 'x64', 0x5000])
    expect(segmentsOf(image)).toEqual([
      [0, 0x1000, 'r', 0x380],
      [0x1000, 0x1000, 'rx', 0x18],
      [0x2000, 0x1000, 'r', 0xcc],
      [0x3000, 0x2000, 'rw', 0x20],
    ])
    expect(image.relativeRelocations).toEqual([{ rva: 0x3000, addend: 0x1000n }])
    expect(image.unwind).toMatchObject({ kind: 'eh_frame' })
    expect(image.fileSha256).toEqual(Uint8Array.from(createHash('sha256').update(elf).digest()))
  })

  it('reads a DLL', () => {
    const image = readPatchImage(pe)
    expect([image.format, image.machine, image.imageSize]).toEqual(['pe', 'x64', 0x5000])
    expect(segmentsOf(image)).toEqual([
      [0, 0x1000, 'r', 0x400],
      [0x1000, 0x1000, 'rx', 0x18],
      [0x2000, 0x1000, 'r', 0x224],
      [0x3000, 0x1000, 'rw', 0x20],
      [0x4000, 0x1000, 'r', 0x18],
    ])
    expect(image.relativeRelocations).toEqual([{ rva: 0x3000, addend: 0x1000n }])
    expect(image.unwind).toEqual({ kind: 'pdata', rva: 0x4000, count: 2 })
  })

  it.each([
    ['ELF', elf],
    ['PE', pe],
  ])('%s: the table and the manifest, as the assembler wrote them', (_, file) => {
    const { table, manifest } = readPatchImage(file)
    expect(table).toEqual({
      version: 4,
      sequenceNumber: 3,
      bufferOffset: 0,
      extraPatchSize: 1,
      minSequenceNumber: 2,
      flags: 0,
      bases: [
        {
          sequenceNumber: 3,
          flags: 0x0a,
          originalTimeDateStamp: 0x55667788,
          originalCheckSum: 0x11223344,
          hashes: { sha256: new Uint8Array(32).fill(0xaa), sha1: new Uint8Array(20).fill(0xbb) },
          bufferOffset: 0,
          chunks: CHUNKS,
        },
      ],
    })
    expect(manifest).toEqual(JSON.parse(readFileSync(new URL('./fixtures/manifest.json', import.meta.url), 'utf8')))
  })

  it.each([
    ['ELF', elf],
    ['PE', pe],
  ])('%s: goes to its place', (_, file) => {
    const image = readPatchImage(file)
    const [entry] = image.table.bases as [HotPatchBase]
    const baseAddress = 0x7f00_0000_0000n
    const { low, high } = reachOf(image, entry, baseAddress)
    const imageAddress = baseAddress + 0x10000n
    expect(imageAddress >= low && imageAddress + BigInt(image.imageSize) <= high).toBe(true)
    const placed = placeImage(image, entry, { imageAddress, baseAddress, read: () => new Uint8Array(8).fill(0x77), imports: new Map() })
    const data = Buffer.from(placed.find((s) => s.rva === 0x3000)?.content ?? [])
    expect([0, 8, 16, 24].map((at) => data.readBigUInt64LE(at))).toEqual([
      imageAddress + 0x1000n,
      7n,
      baseAddress + 0x8000n,
      0x7777777777777777n,
    ])
    const code = Buffer.from(placed.find((s) => s.rva === 0x1000)?.content ?? [])
    // lea rax,[rip+...]: from the end of the instruction, 0x1017, to 0x9000 of the base image.
    expect(code.readInt32LE(0x13)).toBe(0x9000 - 0x10000 - 0x1017)
  })

  // Program headers begin at 64 and take 56 bytes; p_flags are at 4, p_vaddr at 16, p_memsz at 40. The second is the code.
  const header = (index: number, field: number): number => 64 + 56 * index + field

  it('refuses memory that is writable and executable', () => {
    expect(outcome(changed(elf, header(1, 4), '07'))).toBe('PATCH_WRITABLE_CODE: the segment at RVA 0x1000 is both writable and executable')
    // The characteristics of the first section.
    const at = Buffer.from(pe).indexOf('.text\0\0\0', 0, 'latin1') + 36
    expect(outcome(changed(pe, at, '20 00 00 e0'))).toBe('PATCH_WRITABLE_CODE: section .text is both writable and executable')
  })

  it('refuses segments that share pages, and images that are too large', () => {
    expect(outcome(changed(elf, header(3, 16), '00 28 00 00'))).toBe(
      'PATCH_IMAGE_MALFORMED: the part at RVA 0x2000 shares pages with the one before it',
    )
    expect(outcome(changed(elf, header(3, 40), '00 00 00 10'))).toBe(
      'PATCH_IMAGE_MALFORMED: the image takes 268447744 bytes of memory, more than 268435456',
    )
  })

  it('refuses a file that is not for a known processor, or no shared object', () => {
    expect(outcome(changed(elf, 18, '03 00'))).toBe('MACHINE_UNSUPPORTED: the patch image is for ELF machine 3')
    expect(outcome(changed(elf, 16, '02 00'))).toBe('PATCH_IMAGE_MALFORMED: the patch image is an ELF file of type 2, not a shared object')
  })

  it('refuses a table for another processor than the image', () => {
    expect(outcome(changed(elf, 18, 'b7 00'))).toMatch(/^PATCH_IMAGE_UNSUPPORTED: it has a relocation of type 8 /)
    expect(outcome(changed(elf, 0x2000 + 44, '12'))).toBe('PATCH_WRONG_MACHINE: the table is for machines 0x4, the patch image is for x64')
  })

  it('refuses relocations that only a loader could do', () => {
    const at = Buffer.from(elf).indexOf(Buffer.from('00300000000000000800000000000000', 'hex')) + 8
    expect(outcome(changed(elf, at, '06'))).toBe('PATCH_IMAGE_UNSUPPORTED: it has a relocation of type 6 at RVA 0x3000')
    expect(outcome(changed(elf, at - 8, '00 50'))).toBe("PATCH_IMAGE_MALFORMED: a relocation at RVA 0x5000 is outside of the image's parts")
    expect(outcome(changed(elf, at - 8, '0c 30'))).toMatch(/^PATCH_RECORD_INVALID: .* both write at RVA 0x3010/)
  })

  it.each([
    ['"sequence": 3', '"sequence": 4', /^PATCH_MANIFEST_MISMATCH: the manifest's sequence number is 4, the table's 3$/],
    ['"rva": 16640', '"rva": 16644', /^PATCH_MANIFEST_MISMATCH: .*g at RVA 0x4104 .*the table does not redirect it$/],
    ['"patchRva": 4112', '"patchRva": 4096', /^PATCH_MANIFEST_MISMATCH: .*the table redirects it to RVA 0x1010$/],
    [
      '"patchSize": 8, "redirect": "padding"',
      '"patchSize":9999,"redirect":"padding"',
      /^PATCH_MANIFEST_MISMATCH: the new g, at RVA 0x1010, ends outside/,
    ],
    [
      '"rva": 16384, "size": 32',
      '"rva":16384,"size":12345',
      /^PATCH_MANIFEST_MISMATCH: f, at RVA 0x4000 with 12345 bytes, reaches into g at RVA 0x4100$/,
    ],
    ['"patchRva": 12296', '"patchRva": 92296', /^PATCH_MANIFEST_MISMATCH: counter, at RVA 0x16888, is outside/],
    ['"imageSize": 65536', '"imageSize": 40960', /^PATCH_RECORD_INVALID: the INDIRECT record .* outside of the base image$/],
    ['"format": 1', '"format": 2', /^PATCH_MANIFEST_MALFORMED: format: /],
  ])('refuses a manifest with %s made %s', (from, to, said) => {
    expect(outcome(replaced(elf, from, to))).toMatch(said)
    expect(outcome(replaced(pe, from, to))).toMatch(said)
  })

  it('refuses a manifest that leaves a function out', () => {
    const text = Buffer.from(elf).toString('latin1')
    const entry = /,\s*\{ "name": "g"[^}]*\}/.exec(text)?.[0] as string
    expect(outcome(replaced(elf, entry, ' '.repeat(entry.length)))).toBe(
      'PATCH_MANIFEST_MISMATCH: the table redirects a function at RVA 0x4100 that the manifest does not name',
    )
  })

  it('refuses a callback that is no code of the image', () => {
    const { manifest, segments, table, format } = samplePatch()
    const agreed = (callout: number) => agree(table, { ...manifest, callout }, { format, segments })
    expect(() => agreed(0x1010)).not.toThrow()
    for (const callout of [0x0, 0x2000, 0x3000, 0x100000])
      expect(() => agreed(callout)).toThrowError(expect.objectContaining({ code: 'PATCH_MANIFEST_MISMATCH' }))
  })

  it('refuses a table for another base image than the manifest names', () => {
    expect(outcome(replaced(elf, '"textSha256": "88', '"textSha256": "89'))).toMatch(
      /^PATCH_MANIFEST_MISMATCH: the table is for another base image/,
    )
  })

  it('says what is no patch image', () => {
    expect(outcome(new Uint8Array())).toBe('NOT_A_PATCH_IMAGE: the file is neither an ELF shared object nor a PE image')
    expect(outcome(replaced(elf, 'hotpatch\0', 'otherone\0'))).toBe(
      'NOT_A_PATCH_IMAGE: the ELF file has no note that announces a hot patch table',
    )
  })

  it('reads or refuses every file that is cut off', () => {
    for (const file of [elf, pe])
      for (let length = 0; length < file.length; length += 97) expect(outcome(file.subarray(0, length))).not.toBe('')
  })

  it.each([
    ['ELF', elf],
    ['PE', pe],
    ['PE with thread-local data', fixture('lld-link-threads.dll')],
  ])('%s: reads or refuses every damaged file', (_, file) => {
    // Where the structures are; what is between them is mostly zero.
    const places = Array.from(file.keys()).filter((at) => file[at] !== 0)
    const change = fc.tuple(fc.constantFrom(...places), fc.integer({ min: 0, max: 255 }))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const copy = file.slice()
        for (const [at, byte] of changes) copy[at] = byte
        expect(outcome(copy)).not.toBe('')
        expect(typeof isPatchImage(copy)).toBe('boolean')
      }),
      { numRuns: 400 },
    )
  })
})

describe('isPatchImage', () => {
  it('knows them by what announces the table', () => {
    expect([elf, pe].map(isPatchImage)).toEqual([true, true])
    expect(isPatchImage(replaced(elf, 'hotpatch\0', 'otherone\0'))).toBe(false)
    expect(isPatchImage(new Uint8Array())).toBe(false)
    expect(isPatchImage(elf.subarray(0, 100))).toBe(false)
    expect(isPatchImage(pe.subarray(0, 100))).toBe(false)
  })
})

describe('thread-local variables, as an assembler and GNU ld have them', () => {
  const threads = fixture('gnu-ld-threads.so')

  it('are read with the pointers that get their distances', () => {
    const { threadLocal, table } = readPatchImage(threads)
    expect(threadLocal).toMatchObject({ rva: 0x3040, size: 16, alignment: 8, distances: [{ rva: 0x3038, target: 0x3048 }] })
    expect([...(threadLocal?.content ?? [])]).toEqual([5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0])
    const [record] = table.bases.flatMap(({ chunks }) => chunks.filter(({ type }) => type === 'OWN_THREAD32'))
    expect(record?.records).toEqual([{ source: 0x1023, target: 0x3048, extras: [0] }])
  })

  it('are placed by what the process says', () => {
    const image = readPatchImage(threads)
    const place = (start: bigint) =>
      placeImage(image, image.table.bases[0] as HotPatchBase, {
        imageAddress: 0x10000n,
        baseAddress: 0x20000n,
        read: () => new Uint8Array(8),
        imports: new Map(),
        threadLocal: { index: () => 0, distance: (rva) => start + BigInt(rva - 0x3040) },
      })
    const word = (segments: ReturnType<typeof place>, rva: number): DataView => {
      const segment = segments.find((s) => rva >= s.rva && rva < s.rva + s.size)
      return new DataView((segment?.content ?? new Uint8Array()).slice(rva - (segment?.rva ?? 0)).buffer)
    }
    const placed = place(-0x100n)
    expect(word(placed, 0x3038).getBigInt64(0, true)).toBe(-0xf8n)
    expect(word(placed, 0x1023).getInt32(0, true)).toBe(-0xf8)
    expect(() => place(-(2n ** 40n))).toThrow(expect.objectContaining({ code: 'PATCH_OUT_OF_REACH' }))
  })

  it('of which the manifest says something else: refused', () => {
    const elsewhere = replaced(threads, '"patchRva": 12360', '"patchRva": 12364')
    expect(outcome(elsewhere)).toContain('PATCH_MANIFEST_MISMATCH: late, at RVA 0x304c')
    const unnamed = replaced(replaced(threads, '"patchRva": 12352, "size": 8', '"patchRva": 12352, "size": 4'), '12360', '12356')
    expect(outcome(replaced(unnamed, '12356, "size": 8', '12356, "size": 2'))).toContain('names no thread-local variable at RVA 0x3048')
  })
})

describe('thread-local variables, as an assembler and lld-link have them', () => {
  const threads = fixture('lld-link-threads.dll')
  const directoryAt = offsetOfRva(threads, directory(readPe(threads), 'TLS')?.rva ?? 0)
  const { StartAddressOfRawData: START, EndAddressOfRawData: END, ...fields } = ImageTlsDirectory64.offsets
  /** The same file with other words in its TLS directory. */
  const lying = (...words: readonly (readonly [offset: number, change: (old: bigint) => bigint])[]): Uint8Array => {
    const file = threads.slice()
    const view = new DataView(file.buffer)
    for (const [offset, change] of words)
      view.setBigUint64(directoryAt + offset, change(view.getBigUint64(directoryAt + offset, true)), true)
    return file
  }

  it('are read with the fields that get the number of their block', () => {
    const { threadLocal, table, relativeRelocations } = readPatchImage(threads)
    expect(threadLocal).toMatchObject({ rva: 0x5000, size: 16, alignment: 8, distances: [] })
    expect([...(threadLocal?.content ?? [])]).toEqual([5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0])
    const records = (wanted: string) =>
      table.bases.flatMap(({ chunks }) => chunks.flatMap(({ type, records }) => (type === wanted ? records : [])))
    expect(records('OWN_THREAD32').map(({ target }) => target)).toEqual([0x5008])
    expect(records('OWN_THREAD_INDEX').map(({ target }) => target)).toEqual([0x5000, 0x5008])
    expect(new Set(records('OWN_THREAD_INDEX').map(({ source }) => source)).size).toBe(1)
    expect(relativeRelocations.length).toBe(4)
  })

  it('are placed by what the process says', () => {
    const image = readPatchImage(threads)
    const records = image.table.bases[0]?.chunks ?? []
    const at = (type: string): number => records.find((chunk) => chunk.type === type)?.records[0]?.source ?? 0
    const placed = placeImage(image, image.table.bases[0] as HotPatchBase, {
      imageAddress: 0x10000n,
      baseAddress: 0x20000n,
      read: () => new Uint8Array(8),
      imports: new Map(),
      threadLocal: { index: () => 9, distance: (rva) => BigInt(rva - 0x5000) + 0x40n },
    })
    const word = (rva: number): number => {
      const segment = placed.find((s) => rva >= s.rva && rva < s.rva + s.size)
      return viewOf((segment?.content ?? new Uint8Array()).subarray(rva - (segment?.rva ?? 0))).getUint32(0, true)
    }
    expect([word(at('OWN_THREAD32')), word(at('OWN_THREAD_INDEX'))]).toEqual([0x48, 9])
  })

  it.each<[string, Uint8Array, string]>([
    ['callbacks', lying([fields.AddressOfCallBacks, () => 0x180001000n]), 'PATCH_IMAGE_UNSUPPORTED: it has callbacks'],
    ['zeros without a place', lying([fields.SizeOfZeroFill, (old) => old + 8n]), 'PATCH_IMAGE_UNSUPPORTED: it has 8 bytes of'],
    ['a wide alignment', lying([fields.SizeOfZeroFill, () => 0x0060_0000_0000_0000n]), 'PATCH_IMAGE_UNSUPPORTED: .* aligned to 32 bytes'],
    ['an end before the start', lying([END, (old) => old - 24n]), 'PATCH_IMAGE_MALFORMED: .* outside of its sections'],
    ['an end behind the section', lying([END, (old) => old + 0x1000n]), 'PATCH_IMAGE_MALFORMED: .* outside of its sections'],
    ['more than there may be', lying([START, () => 0x180005000n], [END, () => 0x1_8005_0000n]), 'PATCH_IMAGE_MALFORMED'],
    ['a start outside of the image', lying([START, () => 1n]), 'PATCH_IMAGE_MALFORMED: its TLS directory has the address 0x1,'],
    [
      'a number outside of the image',
      lying([fields.AddressOfIndex, () => 0x180100000n]),
      'PATCH_IMAGE_MALFORMED: its TLS directory has the address',
    ],
    [
      'an address as an initial value',
      lying([START, () => 0x180003000n], [END, () => 0x180003008n]),
      'PATCH_IMAGE_UNSUPPORTED: .* begin with an address',
    ],
  ])('with %s: refused', (_, file, expected) => {
    expect(outcome(file)).toMatch(new RegExp(`^${expected}`))
  })
})

function offsetOfRva(file: Uint8Array, rva: number): number {
  const section = readPe(file).sections.find((s) => rva >= s.rva && rva < s.rva + s.size)
  return (section?.fileOffset ?? 0) + rva - (section?.rva ?? 0)
}
