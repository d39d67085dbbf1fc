import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { IMAGE_SCN, ImageFileHeader, ImageSectionHeader } from '../binary/coff/definitions.ts'
import { ImageDataDirectory, ImageDosHeader, ImageOptionalHeader64 } from '../binary/pe/definitions.ts'
import type { Struct } from '../binary/struct.ts'
import type { PatchImage } from '../patch/image.ts'
import { type FakeModule, fakeBackend } from '../process/fake/index.ts'
import { applyPatch, rollbackPatch, verifyProcess } from './index.ts'
import { BASE, baseModule, newPatch, newTarget, snapshot } from './testing/world.ts'

const TEXT = baseModule().segments[1]?.content ?? new Uint8Array()
const TEXT_SHA256 = createHash('sha256').update(TEXT).digest()
const TIME_DATE_STAMP = 0x65432100
const CHECK_SUM = 0x0001_2345

const zeroed = <T>(structure: Struct<T>): T => structure.readAt(new Uint8Array(structure.size), 0)

/** The same code and data as baseModule() under PE headers. */
function peModule(): FakeModule {
  const header = new Uint8Array(0x1000)
  const sections = [
    { name: '.text', rva: 0x1000, size: 0x2000, characteristics: IMAGE_SCN.CNT_CODE | IMAGE_SCN.MEM_EXECUTE | IMAGE_SCN.MEM_READ },
    { name: '.data', rva: 0x3000, size: 0x1000, characteristics: IMAGE_SCN.MEM_READ },
  ]
  header.set(ImageDosHeader.encode({ ...zeroed(ImageDosHeader), e_magic: 0x5a4d, e_lfanew: 0x80 }))
  header.set([0x50, 0x45, 0, 0], 0x80)
  const file = {
    ...zeroed(ImageFileHeader),
    Machine: 0x8664,
    NumberOfSections: sections.length,
    TimeDateStamp: TIME_DATE_STAMP,
    SizeOfOptionalHeader: ImageOptionalHeader64.size + 16 * ImageDataDirectory.size,
  }
  header.set(ImageFileHeader.encode(file), 0x84)
  const optionalAt = 0x84 + ImageFileHeader.size
  const optional = {
    ...zeroed(ImageOptionalHeader64),
    Magic: 0x20b,
    ImageBase: BASE,
    SectionAlignment: 0x1000,
    FileAlignment: 0x200,
    SizeOfImage: 0x4000,
    SizeOfHeaders: 0x400,
    CheckSum: CHECK_SUM,
    NumberOfRvaAndSizes: 16,
  }
  header.set(ImageOptionalHeader64.encode(optional), optionalAt)
  sections.forEach(({ name, rva, size, characteristics }, i) => {
    const section = {
      ...zeroed(ImageSectionHeader),
      Name: name,
      VirtualSize: size,
      VirtualAddress: rva,
      SizeOfRawData: size,
      PointerToRawData: rva,
      Characteristics: characteristics >>> 0,
    }
    header.set(ImageSectionHeader.encode(section), optionalAt + file.SizeOfOptionalHeader + i * ImageSectionHeader.size)
  })
  const [, code, data] = baseModule().segments
  if (code === undefined || data === undefined) throw new Error('no segments')
  return {
    path: 'C:\\server\\SERVER.DLL',
    base: BASE,
    format: 'pe',
    segments: [{ offset: 0, size: 0x1000, protection: 'r', content: header }, code, data],
  }
}

/** newPatch() for another identity. */
function patchFor(identity: { timeDateStamp: number; checkSum: number; textSha256: Uint8Array }, format: 'elf' | 'pe'): PatchImage {
  const patch = newPatch()
  const { buildId: _, ...base } = patch.manifest.base
  return {
    ...patch,
    format,
    table: {
      ...patch.table,
      bases: patch.table.bases.map((entry) => ({
        ...entry,
        originalTimeDateStamp: identity.timeDateStamp,
        originalCheckSum: identity.checkSum,
      })),
    },
    manifest: { ...patch.manifest, base: { ...base, name: 'server.dll', textSha256: Buffer.from(identity.textSha256).toString('hex') } },
    unwind: format === 'pe' ? { kind: 'pdata', rva: 0x800, count: 3 } : patch.unwind,
  }
}

const KINDS = {
  'PE by time stamp, check sum and text': {
    module: peModule(),
    patch: patchFor({ timeDateStamp: TIME_DATE_STAMP, checkSum: CHECK_SUM, textSha256: TEXT_SHA256 }, 'pe'),
  },
  'ELF without a build id by its text': {
    module: baseModule({ buildId: null }),
    patch: patchFor({ timeDateStamp: TEXT_SHA256.readUInt32LE(0), checkSum: TEXT_SHA256.readUInt32LE(4), textSha256: TEXT_SHA256 }, 'elf'),
  },
}

describe.each(Object.entries(KINDS))('%s', (_, { module, patch }) => {
  const fresh = () => {
    const target = newTarget(7, [module])
    return { target, process: fakeBackend([target]).open(7) }
  }

  test('is known, also while it is patched and after', async () => {
    const { target, process } = fresh()
    const original = snapshot(target)
    expect((await applyPatch(process, patch)).outcome).toBe('applied')
    expect((await applyPatch(process, patch)).outcome).toBe('already-applied')
    expect(verifyProcess(process).outcome).toBe('verified')
    await rollbackPatch(process)
    expect(snapshot(target)).toBe(original)
    expect((await applyPatch(process, patch)).outcome).toBe('applied')
  })

  test('is another one where a byte of its text differs', async () => {
    const { target, process } = fresh()
    target.poke(BASE + 0x2000n, Uint8Array.of(0))
    await expect(applyPatch(process, patch)).rejects.toMatchObject({ code: expect.stringMatching(/^BASE_(DIFFERS|NOT_MAPPED)$/) })
    expect(target.log).toEqual([])
  })
})

test('the unwind data of a PE is registered as what it is', async () => {
  const { module, patch } = KINDS['PE by time stamp, check sum and text']
  const target = newTarget(7, [module])
  const process = fakeBackend([target]).open(7)
  const requests: unknown[] = []
  const spy = Object.assign(process, {
    registerUnwind: (request: { kind: 'pdata'; address: bigint }) => {
      requests.push(request)
      return { kind: request.kind, address: request.address }
    },
  })
  const { mappings } = await applyPatch(spy, patch)
  const image = BigInt(mappings[0]?.address ?? 0)
  expect(requests).toEqual([{ kind: 'pdata', address: image + 0x800n, count: 3, imageBase: image }])
})
