/** Reads 64-bit little-endian ELF: objects, programs, shared objects; with section headers or without. Nothing in the file is trusted. */
import { HotpatchError } from '../../errors.ts'
import { type Of, slice, viewOf } from '../struct.ts'
import {
  EI_CLASS,
  EI_DATA,
  ELFCLASS64,
  ELFDATA2LSB,
  ELFMAG,
  Elf64_Ehdr,
  Elf64_Phdr,
  Elf64_Rel,
  Elf64_Rela,
  Elf64_Shdr,
  Elf64_Sym,
  ET,
  GRP_COMDAT,
  PN_XNUM,
  PT,
  SHF,
  SHN,
  SHT,
} from './definitions.ts'
import {
  type AddressedBytes,
  type DynamicRelocations,
  describeDynamic,
  dynamicStrings,
  dynamicSymbolBytes,
  type ElfDynamic,
  readDynamicRelocations,
  readEntries,
} from './dynamic.ts'
import { buildIdOf, type ElfNote, readNotes } from './notes.ts'
import { type ElfRelocation, readRel, readRela } from './relocations.ts'
import { stringTable } from './strings.ts'
import { type ElfSymbol, readSymbols } from './symbols.ts'
import { readVersions, type SymbolVersions } from './versions.ts'

export interface ElfFile {
  readonly header: Of<typeof Elf64_Ehdr>
  /** ET. */
  readonly type: number
  /** EM. */
  readonly machine: number
  /** By index, the null section at 0 included; empty where the file has no section headers. */
  readonly sections: readonly ElfSection[]
  readonly segments: readonly ElfSegment[]
  /** The segments' file-backed bytes by address. */
  readonly space: AddressedBytes

  /*
   * Decoded when first asked for, then kept. Each throws TRUNCATED or MALFORMED.
   */
  /** .symtab; empty where the file was stripped. */
  symbols(): readonly ElfSymbol[]
  /** .dynsym, found through section headers or the dynamic section. */
  dynamicSymbols(): readonly ElfSymbol[]
  /** Versions of the symbols of .dynsym. */
  versions(): SymbolVersions
  /** Relocations that apply to a section (sh_info), in file order; meant for objects. */
  relocations(section: number): readonly ElfRelocation[]
  dynamic(): ElfDynamic | undefined
  /** What the loader relocates. */
  dynamicRelocations(): DynamicRelocations
  notes(): readonly ElfNote[]
  /** NT_GNU_BUILD_ID, lower-case hexadecimal. */
  buildId(): string | undefined
  groups(): readonly ElfGroup[]
}

export interface ElfSection {
  readonly index: number
  readonly name: string
  /** SHT. */
  readonly type: number
  /** SHF. Bits from 32 on, which no tool here sets, are dropped. */
  readonly flags: number
  readonly addr: bigint
  /** In the file. */
  readonly offset: number
  /** Bytes, also of SHT_NOBITS. */
  readonly size: number
  readonly link: number
  readonly info: number
  readonly align: number
  readonly entsize: number
  /** undefined: SHT_NOBITS. Throws TRUNCATED. */
  data(): Uint8Array | undefined
}

export interface ElfSegment {
  /** PT. */
  readonly type: number
  /** PF. */
  readonly flags: number
  readonly offset: number
  readonly vaddr: bigint
  readonly filesz: number
  readonly memsz: number
  readonly align: number
  /** The file-backed bytes. Throws TRUNCATED. */
  data(): Uint8Array
}

export interface ElfGroup {
  readonly signature: string
  /** GRP_COMDAT: the linker keeps one of all groups with this signature. */
  readonly comdat: boolean
  /** Section indices. */
  readonly members: readonly number[]
}

/** Whether the data begins as every ELF file does. */
export const isElf = (data: Uint8Array): boolean => data.length >= ELFMAG.length && ELFMAG.every((byte, i) => data[i] === byte)

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** A 64-bit quantity that counts bytes of the file or of memory. */
export function toNumber(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new HotpatchError('MALFORMED', `${what} is 0x${value.toString(16)}, beyond 2^53`)
  return Number(value)
}

/** The header. Throws FORMAT_UNKNOWN, TRUNCATED, and MACHINE_UNSUPPORTED for 32-bit and big-endian files. */
export function readHeader(data: Uint8Array): Of<typeof Elf64_Ehdr> {
  if (!isElf(data)) throw new HotpatchError('FORMAT_UNKNOWN', 'the data does not begin as an ELF file does')
  if (data.length > EI_DATA) {
    if (data[EI_CLASS] !== ELFCLASS64) throw new HotpatchError('MACHINE_UNSUPPORTED', 'the ELF file is not a 64-bit one')
    if (data[EI_DATA] !== ELFDATA2LSB) throw new HotpatchError('MACHINE_UNSUPPORTED', 'the ELF file is not little-endian')
  }
  const header = Elf64_Ehdr.readAt(data, 0)
  if (header.e_phnum !== 0 && header.e_phentsize !== Elf64_Phdr.size)
    throw new HotpatchError('MALFORMED', `program headers are ${header.e_phentsize} bytes long, the format has ${Elf64_Phdr.size}`)
  if (header.e_shoff !== 0n && header.e_shentsize !== Elf64_Shdr.size)
    throw new HotpatchError('MALFORMED', `section headers are ${header.e_shentsize} bytes long, the format has ${Elf64_Shdr.size}`)
  return header
}

function readSections(data: Uint8Array, header: Of<typeof Elf64_Ehdr>): ElfSection[] {
  if (header.e_shoff === 0n) return []
  const shoff = toNumber(header.e_shoff, 'the offset of the section headers')
  const first = Elf64_Shdr.readAt(data, shoff)
  const count = header.e_shnum === 0 ? toNumber(first.sh_size, 'the number of sections') : header.e_shnum
  const raw = Elf64_Shdr.readMany(data, shoff, count)
  const namesIndex = header.e_shstrndx === SHN.XINDEX ? first.sh_link : header.e_shstrndx
  const namesHeader = namesIndex === SHN.UNDEF ? undefined : raw[namesIndex]
  if (namesIndex !== SHN.UNDEF && (!namesHeader || namesHeader.sh_type === SHT.NOBITS))
    throw new HotpatchError('MALFORMED', `the section names are said to be in section ${namesIndex}, which has none`)
  const content = (h: Of<typeof Elf64_Shdr>, what: string): Uint8Array =>
    slice(data, toNumber(h.sh_offset, `the offset of ${what}`), toNumber(h.sh_size, `the size of ${what}`), what)
  const name = namesHeader ? stringTable(content(namesHeader, 'the table of section names'), 'the table of section names') : () => ''
  return raw.map((h, index) => {
    const sectionName = name(h.sh_name)
    return {
      index,
      name: sectionName,
      type: h.sh_type,
      flags: Number(h.sh_flags & 0xffffffffn),
      addr: h.sh_addr,
      offset: toNumber(h.sh_offset, `the offset of section ${sectionName}`),
      size: index === 0 ? 0 : toNumber(h.sh_size, `the size of section ${sectionName}`),
      link: h.sh_link,
      info: h.sh_info,
      align: toNumber(h.sh_addralign, `the alignment of section ${sectionName}`),
      entsize: toNumber(h.sh_entsize, `the entry size of section ${sectionName}`),
      data: () => (h.sh_type === SHT.NOBITS || h.sh_type === SHT.NULL ? undefined : content(h, `section ${sectionName}`)),
    }
  })
}

/** @param data at least the header and the program headers; contents are cut from it only when asked for */
export function readSegments(data: Uint8Array, header: Of<typeof Elf64_Ehdr>, sections: readonly ElfSection[]): ElfSegment[] {
  const count = header.e_phnum === PN_XNUM && sections[0] ? sections[0].info : header.e_phnum
  if (count === 0) return []
  return Elf64_Phdr.readMany(data, toNumber(header.e_phoff, 'the offset of the program headers'), count).map((h, index) => {
    const offset = toNumber(h.p_offset, `the offset of segment ${index}`)
    const filesz = toNumber(h.p_filesz, `the file size of segment ${index}`)
    const memsz = toNumber(h.p_memsz, `the memory size of segment ${index}`)
    if (h.p_type === PT.LOAD && filesz > memsz)
      throw new HotpatchError('MALFORMED', `segment ${index} is larger in the file than in memory`)
    return {
      type: h.p_type,
      flags: h.p_flags,
      offset,
      vaddr: h.p_vaddr,
      filesz,
      memsz,
      align: toNumber(h.p_align, `the alignment of segment ${index}`),
      data: () => slice(data, offset, filesz, `segment ${index}`),
    }
  })
}

/** The file-backed bytes of the loadable segments. */
export function segmentSpace(data: Uint8Array, segments: readonly ElfSegment[]): AddressedBytes {
  const loads = segments.filter((s) => s.type === PT.LOAD)
  const find = (address: bigint): ElfSegment | undefined => loads.find((s) => address >= s.vaddr && address < s.vaddr + BigInt(s.filesz))
  const available = (address: bigint): number => {
    const segment = find(address)
    if (!segment) return 0
    const within = Number(address - segment.vaddr)
    return Math.max(0, Math.min(segment.filesz - within, data.length - segment.offset - within))
  }
  return {
    available,
    at(address, length, what) {
      const segment = find(address)
      if (!segment || available(address) < length)
        throw new HotpatchError('TRUNCATED', `${what} at address 0x${address.toString(16)} needs ${length} bytes, the segments have fewer`)
      const start = segment.offset + Number(address - segment.vaddr)
      return data.subarray(start, start + length)
    },
  }
}

/**
 * Reads the headers at once and the tables when they are asked for.
 * Throws FORMAT_UNKNOWN, MACHINE_UNSUPPORTED (32-bit, big-endian), TRUNCATED, MALFORMED.
 */
export function readElf(data: Uint8Array): ElfFile {
  const header = readHeader(data)
  const sections = readSections(data, header)
  const segments = readSegments(data, header, sections)
  const space = segmentSpace(data, segments)

  const contentOf = (index: number, what: string): Uint8Array => {
    const section = sections[index]
    if (!section) throw new HotpatchError('MALFORMED', `${what} is said to be in section ${index}, the file has ${sections.length}`)
    return section.data() ?? new Uint8Array(0)
  }
  const entriesOf = (section: ElfSection, size: number): Uint8Array => {
    if (section.entsize !== 0 && section.entsize !== size)
      throw new HotpatchError(
        'MALFORMED',
        `section ${section.name} claims entries of ${section.entsize} bytes where the format has ${size}`,
      )
    return contentOf(section.index, `section ${section.name}`)
  }
  const symbolsOf = (type: number): ElfSymbol[] | undefined => {
    const section = sections.find((s) => s.type === type)
    if (!section) return undefined
    const extended = sections.find((s) => s.type === SHT.SYMTAB_SHNDX && s.link === section.index)
    return readSymbols({
      data: entriesOf(section, Elf64_Sym.size),
      name: stringTable(contentOf(section.link, `the string table of ${section.name}`), `the string table of ${section.name}`),
      extendedIndices: extended && contentOf(extended.index, `section ${extended.name}`),
    })
  }

  const dynamicEntries = once(() => {
    const segment = segments.find((s) => s.type === PT.DYNAMIC)
    if (segment) return readEntries(segment.data())
    const section = sections.find((s) => s.type === SHT.DYNAMIC)
    return section && header.e_type !== ET.REL ? readEntries(contentOf(section.index, 'the dynamic section')) : undefined
  })
  const dynamicNames = once(() => dynamicStrings(space, dynamicEntries() ?? []))
  const dynamic = once(() => {
    const entries = dynamicEntries()
    return entries && describeDynamic(entries, dynamicNames())
  })
  const dynamicRelocations = once(() => readDynamicRelocations(space, dynamicEntries() ?? []))
  const symbols = once(() => symbolsOf(SHT.SYMTAB) ?? [])
  const dynamicSymbols = once((): readonly ElfSymbol[] => {
    const fromSections = symbolsOf(SHT.DYNSYM)
    const entries = dynamicEntries()
    if (fromSections || !entries) return fromSections ?? []
    const bytes = dynamicSymbolBytes(space, entries, dynamicRelocations())
    return readSymbols({ data: bytes, name: dynamicNames(), extendedIndices: undefined })
  })
  const versions = once(() => readVersions(space, dynamicEntries() ?? [], dynamicNames(), dynamicSymbols().length))

  const relocationSections = once(() => {
    const bySection = new Map<number, ElfSection[]>()
    for (const section of sections) {
      if (section.type !== SHT.RELA && section.type !== SHT.REL) continue
      const list = bySection.get(section.info)
      if (list) list.push(section)
      else bySection.set(section.info, [section])
    }
    return bySection
  })
  const relocations = (section: number): ElfRelocation[] =>
    (relocationSections().get(section) ?? []).flatMap((s) =>
      s.type === SHT.RELA ? readRela(entriesOf(s, Elf64_Rela.size)) : readRel(entriesOf(s, Elf64_Rel.size)),
    )

  const notes = once(() => {
    const noteSegments = segments.filter((s) => s.type === PT.NOTE)
    if (noteSegments.length > 0) return noteSegments.flatMap((s) => readNotes(s.data(), s.align))
    return sections.filter((s) => s.type === SHT.NOTE).flatMap((s) => readNotes(s.data() ?? new Uint8Array(0), s.align))
  })

  const groups = once(() =>
    sections
      .filter((s) => s.type === SHT.GROUP)
      .map((section): ElfGroup => {
        const content = contentOf(section.index, `section ${section.name}`)
        if (content.length < 4) throw new HotpatchError('TRUNCATED', `group section ${section.index} has no flags`)
        const view = viewOf(content)
        const symbol = symbols()[section.info]
        if (!symbol)
          throw new HotpatchError('MALFORMED', `group section ${section.index} is named by symbol ${section.info}, which is missing`)
        const members = Array.from({ length: Math.floor(content.length / 4) - 1 }, (_, i) => view.getUint32(4 + i * 4, true))
        const signature = symbol.name || (symbol.place === 'section' && sections[symbol.section]?.name) || ''
        return { signature, comdat: (view.getUint32(0, true) & GRP_COMDAT) !== 0, members }
      }),
  )

  return {
    header,
    type: header.e_type,
    machine: header.e_machine,
    sections,
    segments,
    space,
    symbols,
    dynamicSymbols,
    versions,
    relocations,
    dynamic,
    dynamicRelocations,
    notes,
    buildId: once(() => buildIdOf(notes())),
    groups,
  }
}

/** Whether a section takes part in the running program. */
export const isAllocated = (section: ElfSection): boolean => (section.flags & SHF.ALLOC) !== 0
