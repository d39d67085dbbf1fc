/** The process and patch of world.ts under PE headers. */
import { createHash } from 'node:crypto'
import { IMAGE_SCN, ImageFileHeader, ImageSectionHeader } from '../../binary/coff/definitions.ts'
import { ImageDataDirectory, ImageDosHeader, ImageOptionalHeader64 } from '../../binary/pe/definitions.ts'
import type { Struct } from '../../binary/struct.ts'
import type { PatchImage } from '../../patch/image.ts'
import type { HotPatchChunk } from '../../patch/table.ts'
import type { FakeModule } from '../../process/fake/index.ts'
import { BASE, baseModule, newPatch, PATCH_RVA, type PatchOptions } from './world.ts'

const TEXT = baseModule().segments[1]?.content ?? new Uint8Array()
export const TEXT_SHA256 = createHash('sha256').update(TEXT).digest()
export const TIME_DATE_STAMP = 0x65432100
export const CHECK_SUM = 0x0001_2345

const zeroed = <T>(structure: Struct<T>): T => structure.readAt(new Uint8Array(structure.size), 0)

/** The same code and data as baseModule() under PE headers. */
export function peModule(): FakeModule {
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

/** `patch` for another identity. */
export function patchFor(
  identity: { timeDateStamp: number; checkSum: number; textSha256: Uint8Array },
  format: 'elf' | 'pe',
  patch = newPatch(),
): PatchImage {
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

const IDENTITY = { timeDateStamp: TIME_DATE_STAMP, checkSum: CHECK_SUM, textSha256: TEXT_SHA256 }

export interface PePatchOptions extends PatchOptions {
  /**
   * Functions by their thread-local variables. At PATCH_RVA.imports, 4 bytes each: for every variable its distance, in the order of `threadLocals`; then
   * for every function the number of the block.
   */
  readonly groups?: readonly (readonly string[])[]
}

/** newPatch() for peModule(); each thread-local variable is used by a function of its own. */
export function newPePatch({ groups, ...options }: PePatchOptions = {}): PatchImage {
  const patch = newPatch(options)
  const names = Object.keys(options.threadLocals ?? {})
  const target = (name: string): number => PATCH_RVA.threadLocal + 8 * names.indexOf(name)
  const field = (i: number): number => PATCH_RVA.imports + 4 * i
  const chunk = (type: HotPatchChunk['type'], records: readonly (readonly [source: number, target: number])[]): HotPatchChunk => ({
    type,
    inverse: true,
    obligatory: true,
    records: records.map(([source, to]) => ({ source, target: to, extras: [0] })),
  })
  const sets = groups ?? names.map((name) => [name])
  const chunks = [
    chunk(
      'OWN_THREAD32',
      names.map((name, i) => [field(i), target(name)]),
    ),
    chunk(
      'OWN_THREAD_INDEX',
      sets.flatMap((set, i) => set.map((name) => [field(names.length + i), target(name)] as const)),
    ),
  ]
  const bases = patch.table.bases.map((base) => ({ ...base, chunks: [...base.chunks, ...(names.length === 0 ? [] : chunks)] }))
  const threadLocal = patch.threadLocal && { ...patch.threadLocal, distances: [] }
  return patchFor(IDENTITY, 'pe', { ...patch, table: { ...patch.table, bases }, threadLocal })
}
