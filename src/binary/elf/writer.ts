/**
 * Writes ELF images: sections in, laid out in page-aligned segments at addresses that equal their file offsets, so that RVA,
 * address and offset are one number. Two steps: `layOut` decides every address from sizes alone; `writeElf` then takes the
 * contents, which may depend on them. The same input gives the same bytes.
 */
import { createHash } from 'node:crypto'
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import {
  EI_CLASS,
  EI_DATA,
  EI_VERSION,
  ELFCLASS64,
  ELFDATA2LSB,
  ELFMAG,
  Elf64_Ehdr,
  Elf64_Nhdr,
  Elf64_Phdr,
  Elf64_Shdr,
  EV_CURRENT,
  PF,
  PT,
  SHT,
} from './definitions.ts'
import { StringTableBuilder } from './tables.ts'

export const PAGE = 0x1000

export interface OutputSection {
  readonly name: string
  /** SHT. */
  readonly type: number
  /** SHF. */
  readonly flags: number
  readonly align: number
  readonly size: number
  readonly entsize?: number
  /** The name of the section that sh_link means. */
  readonly link?: string
  /** sh_info. */
  readonly info?: number
}

/** A section that is not mapped. */
export interface UnloadedSection extends Omit<OutputSection, 'size'> {
  readonly content: Uint8Array
}

export interface OutputSegment {
  /** PF. */
  readonly flags: number
  /** Without sections the segment is left out. SHT_NOBITS last. */
  readonly sections: readonly OutputSection[]
  /** The loader makes the segment read-only once it has relocated it (PT_GNU_RELRO). */
  readonly relro?: boolean
}

/** A program header that covers what a loadable segment holds already. */
export interface OutputHeader {
  /** PT. */
  readonly type: number
  readonly flags: number
  readonly align: number
  /** Names of the first and the last section; none for headers that only say something (PT_GNU_STACK). */
  readonly sections?: readonly [first: string, last: string]
}

export interface OutputImage {
  /** ET. */
  readonly type: number
  /** EM. */
  readonly machine: number
  readonly segments: readonly OutputSegment[]
  readonly headers: readonly OutputHeader[]
  /** Name of the section with the NT_GNU_BUILD_ID note: its 20 bytes are set to the SHA-1 of the file in which they are zero. */
  readonly buildId?: string
}

interface PlacedSection extends OutputSection {
  readonly at: number
}

interface PlacedSegment extends OutputSegment {
  readonly at: number
  readonly placed: readonly PlacedSection[]
  readonly fileEnd: number
  readonly end: number
}

/** Where everything is that is loaded. */
export interface PlacedImage {
  readonly image: OutputImage
  readonly segments: readonly PlacedSegment[]
  /** In the order of the section header table, the null section not counted. */
  readonly sections: readonly PlacedSection[]
  /** One past the last byte of the file that is mapped. */
  readonly loadedEnd: number
  /** Also the file offset. Throws DEFECT for a name that there is not. */
  address(name: string): number
  /** In the section header table. Throws DEFECT for a name that there is not. */
  index(name: string): number
}

const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment

/** Decides addresses. The first segment begins with the ELF header and the program headers. */
export function layOut(image: OutputImage): PlacedImage {
  const used = image.segments.filter((s, i) => i === 0 || s.sections.length > 0)
  const relros = used.filter((s) => s.relro).length
  const headerCount = used.length + relros + image.headers.length
  let at = 0
  let loadedEnd = 0
  const segments = used.map((segment, i): PlacedSegment => {
    const start = alignUp(at, PAGE)
    at = i === 0 ? Elf64_Ehdr.size + headerCount * Elf64_Phdr.size : start
    let fileEnd = at
    const placed = segment.sections.map((section): PlacedSection => {
      at = alignUp(at, Math.max(1, section.align))
      const result = { ...section, at }
      at += section.size
      if (section.type !== SHT.NOBITS) {
        if (fileEnd > result.at) throw new HotpatchError('DEFECT', `section ${section.name} lies in the file before the one before it`)
        fileEnd = at
      }
      return result
    })
    loadedEnd = fileEnd
    return { ...segment, at: start, placed, fileEnd, end: at }
  })
  const sections = segments.flatMap((s) => s.placed)
  const byName = new Map(sections.map((s, i) => [s.name, { at: s.at, index: i + 1 }]))
  const find = (name: string): { at: number; index: number } => {
    const found = byName.get(name)
    if (!found) throw new HotpatchError('DEFECT', `there is no section ${name} in the image to be written`)
    return found
  }
  return { image, segments, sections, loadedEnd, address: (name) => find(name).at, index: (name) => find(name).index }
}

const SHSTRTAB = '.shstrtab'

/**
 * The bytes of the file.
 * @param contents of the loaded sections by name, each of its announced size; SHT_NOBITS have none
 * @param unloaded sections that follow what is mapped; they may link to each other and to loaded ones
 * Throws DEFECT for contents that do not fit.
 */
export function writeElf(layout: PlacedImage, contents: ReadonlyMap<string, Uint8Array>, unloaded: readonly UnloadedSection[]): Uint8Array {
  const { image, sections, segments } = layout
  const names = new StringTableBuilder()
  for (const { name } of [...sections, ...unloaded, { name: SHSTRTAB }]) names.add(name)
  const behind = [...unloaded, { name: SHSTRTAB, type: SHT.STRTAB, flags: 0, align: 1, content: names.encode() }]
  let at = layout.loadedEnd
  const all = [
    ...sections.map((s) => ({ ...s, address: s.at, content: contents.get(s.name) })),
    ...behind.map((s) => {
      const start = alignUp(at, Math.max(1, s.align))
      at = start + s.content.length
      return { ...s, at: start, address: 0, size: s.content.length }
    }),
  ]
  const headersAt = alignUp(at, 8)
  const data = new Uint8Array(headersAt + (all.length + 1) * Elf64_Shdr.size)
  const view = viewOf(data)

  for (const { name, type, size, content, at: start } of all) {
    if (type === SHT.NOBITS) continue
    if (content?.length !== size) throw new HotpatchError('DEFECT', `section ${name} has ${content?.length} bytes, ${size} were announced`)
    data.set(content, start)
  }
  const programHeaders = [
    ...segments.map(loadHeader),
    ...segments.filter((s) => s.relro).map(relroHeader),
    ...image.headers.map(headerFor(layout)),
  ]
  programHeaders.forEach((header, i) => {
    Elf64_Phdr.write(view, Elf64_Ehdr.size + i * Elf64_Phdr.size, header)
  })
  const indices = new Map(all.map((s, i) => [s.name, i + 1]))
  all.forEach((section, i) => {
    Elf64_Shdr.write(view, headersAt + (i + 1) * Elf64_Shdr.size, {
      sh_name: names.add(section.name),
      sh_type: section.type,
      sh_flags: BigInt(section.flags),
      sh_addr: BigInt(section.address),
      sh_offset: BigInt(section.at),
      sh_size: BigInt(section.size),
      sh_link: section.link === undefined ? 0 : (indices.get(section.link) ?? 0),
      sh_info: section.info ?? 0,
      sh_addralign: BigInt(section.align),
      sh_entsize: BigInt(section.entsize ?? 0),
    })
  })
  const e_ident = new Uint8Array(16)
  e_ident.set(ELFMAG)
  e_ident[EI_CLASS] = ELFCLASS64
  e_ident[EI_DATA] = ELFDATA2LSB
  e_ident[EI_VERSION] = EV_CURRENT
  Elf64_Ehdr.write(view, 0, {
    e_ident,
    e_type: image.type,
    e_machine: image.machine,
    e_version: EV_CURRENT,
    e_entry: 0n,
    e_phoff: BigInt(Elf64_Ehdr.size),
    e_shoff: BigInt(headersAt),
    e_flags: 0,
    e_ehsize: Elf64_Ehdr.size,
    e_phentsize: Elf64_Phdr.size,
    e_phnum: programHeaders.length,
    e_shentsize: Elf64_Shdr.size,
    e_shnum: all.length + 1,
    e_shstrndx: all.length,
  })
  if (image.buildId !== undefined) setBuildId(data, layout.address(image.buildId))
  return data
}

type Header = Parameters<typeof Elf64_Phdr.write>[2]

function header(type: number, flags: number, at: number, filesz: number, memsz: number, align: number): Header {
  const address = BigInt(at)
  return {
    p_type: type,
    p_flags: flags,
    p_offset: address,
    p_vaddr: address,
    p_paddr: address,
    p_filesz: BigInt(filesz),
    p_memsz: BigInt(memsz),
    p_align: BigInt(align),
  }
}

/** The loader protects whole pages only: what is read-only in the end fills its last page. */
const memoryEnd = ({ end, relro }: PlacedSegment): number => (relro ? alignUp(end, PAGE) : end)

const loadHeader = (segment: PlacedSegment): Header =>
  header(PT.LOAD, segment.flags, segment.at, segment.fileEnd - segment.at, memoryEnd(segment) - segment.at, PAGE)

const relroHeader = (segment: PlacedSegment): Header =>
  header(PT.GNU_RELRO, PF.R, segment.at, segment.fileEnd - segment.at, memoryEnd(segment) - segment.at, 1)

const headerFor =
  (layout: PlacedImage) =>
  ({ type, flags, align, sections }: OutputHeader): Header => {
    if (!sections) return header(type, flags, 0, 0, 0, align)
    const [first, last] = sections
    const at = layout.address(first)
    const lastSection = layout.sections[layout.index(last) - 1]
    const end = layout.address(last) + (lastSection?.size ?? 0)
    return header(type, flags, at, end - at, end - at, align)
  }

const GNU_NAME_SIZE = 4

function setBuildId(data: Uint8Array, note: number): void {
  const digest = createHash('sha1').update(data).digest()
  data.set(digest, note + Elf64_Nhdr.size + GNU_NAME_SIZE)
}
