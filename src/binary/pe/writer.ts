/**
 * Writes a PE32+ DLL. First `layOut` gives sections their RVAs, then the caller fills them, then `writePe` makes the file. The same
 * input gives the same bytes; TimeDateStamp is a hash of the content.
 */
import { createHash } from 'node:crypto'
import { HotpatchError } from '../../errors.ts'
import { IMAGE_FILE, IMAGE_SCN, ImageFileHeader, ImageSectionHeader } from '../coff/definitions.ts'
import { encodeSymbols, type NewSymbol } from '../coff/writer.ts'
import { viewOf } from '../struct.ts'
import { peChecksum } from './checksum.ts'
import {
  type DirectoryName,
  IMAGE_DIRECTORY_ENTRY,
  IMAGE_DOS_SIGNATURE,
  IMAGE_NT_OPTIONAL_HDR64_MAGIC,
  IMAGE_NT_SIGNATURE,
  IMAGE_NUMBEROF_DIRECTORY_ENTRIES,
  IMAGE_REL_BASED,
  IMAGE_SUBSYSTEM,
  ImageBaseRelocation,
  ImageDataDirectory,
  ImageDosHeader,
  ImageExportDirectory,
  ImageOptionalHeader64,
} from './definitions.ts'

export interface NewImage {
  /** IMAGE_FILE_MACHINE. */
  readonly machine: number
  readonly imageBase: bigint
  /** IMAGE_DLLCHARACTERISTICS. */
  readonly dllCharacteristics: number
  /** By ascending RVA, as `layOut` gave them. */
  readonly sections: readonly NewSection[]
  readonly directories: Readonly<Partial<Record<DirectoryName, { readonly rva: number; readonly size: number }>>>
  readonly symbols: readonly NewSymbol[]
}

export interface NewSection {
  /** At most 8 characters. */
  readonly name: string
  readonly rva: number
  /** Bytes in memory. */
  readonly size: number
  /** At most `size` bytes; zeros follow. */
  readonly content: Uint8Array
  /** IMAGE_SCN. */
  readonly characteristics: number
}

const PAGE = 0x1000
const FILE_ALIGNMENT = 0x200

const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment

/** The DOS header alone: no program to run under DOS. */
const NT_OFFSET = ImageDosHeader.size
const OPTIONAL_SIZE = ImageOptionalHeader64.size + IMAGE_NUMBEROF_DIRECTORY_ENTRIES * ImageDataDirectory.size
const FILE_HEADER_AT = NT_OFFSET + 4
const OPTIONAL_AT = FILE_HEADER_AT + ImageFileHeader.size
const SECTIONS_AT = OPTIONAL_AT + OPTIONAL_SIZE

const headersSize = (sections: number): number => alignUp(SECTIONS_AT + sections * ImageSectionHeader.size, FILE_ALIGNMENT)

/** RVAs for `sections` sections in a row, each beginning a page; `place` is told the RVA of a section and answers its size. */
export function layOut<T>(sections: readonly T[], place: (section: T, rva: number) => number): void {
  let rva = alignUp(headersSize(sections.length), PAGE)
  for (const section of sections) rva = alignUp(rva + place(section, rva), PAGE)
}

/** The file's bytes. */
export function writePe(image: NewImage): Uint8Array {
  const sizeOfHeaders = headersSize(image.sections.length)
  let end = sizeOfHeaders
  const placed = image.sections.map((section) => {
    if (section.content.length > section.size) throw new HotpatchError('DEFECT', `section ${section.name} has more bytes than room`)
    const fileSize = alignUp(section.content.length, FILE_ALIGNMENT)
    const fileOffset = fileSize === 0 ? 0 : end
    end += fileSize
    return { ...section, fileOffset, fileSize }
  })
  const symbols = image.symbols.length === 0 ? new Uint8Array() : encodeSymbols(image.symbols)
  const file = new Uint8Array(end + symbols.length)
  const view = viewOf(file)
  ImageDosHeader.write(view, 0, dosHeader())
  view.setUint32(NT_OFFSET, IMAGE_NT_SIGNATURE, true)
  ImageFileHeader.write(view, FILE_HEADER_AT, {
    Machine: image.machine,
    NumberOfSections: placed.length,
    TimeDateStamp: 0,
    PointerToSymbolTable: symbols.length === 0 ? 0 : end,
    NumberOfSymbols: image.symbols.length,
    SizeOfOptionalHeader: OPTIONAL_SIZE,
    Characteristics: IMAGE_FILE.EXECUTABLE_IMAGE | IMAGE_FILE.LARGE_ADDRESS_AWARE | IMAGE_FILE.DLL,
  })
  ImageOptionalHeader64.write(view, OPTIONAL_AT, optionalHeader(image, placed, sizeOfHeaders))
  for (const [name, at] of Object.entries(image.directories)) {
    const entry = OPTIONAL_AT + ImageOptionalHeader64.size + IMAGE_DIRECTORY_ENTRY[name as DirectoryName] * ImageDataDirectory.size
    ImageDataDirectory.write(view, entry, { VirtualAddress: at.rva, Size: at.size })
  }
  placed.forEach((section, i) => {
    ImageSectionHeader.write(view, SECTIONS_AT + i * ImageSectionHeader.size, {
      Name: section.name,
      VirtualSize: section.size,
      VirtualAddress: section.rva,
      SizeOfRawData: section.fileSize,
      PointerToRawData: section.fileOffset,
      PointerToRelocations: 0,
      PointerToLinenumbers: 0,
      NumberOfRelocations: 0,
      NumberOfLinenumbers: 0,
      Characteristics: section.characteristics,
    })
    file.set(section.content, section.fileOffset)
  })
  file.set(symbols, end)
  view.setUint32(FILE_HEADER_AT + ImageFileHeader.offsets.TimeDateStamp, stampOf(file), true)
  const checkSumAt = OPTIONAL_AT + ImageOptionalHeader64.offsets.CheckSum
  view.setUint32(checkSumAt, peChecksum(file, checkSumAt), true)
  return file
}

/** The first four bytes of the file's SHA-256 before stamp and checksum are in it. Never 0, which tools take for "none". */
const stampOf = (file: Uint8Array): number => createHash('sha256').update(file).digest().readUInt32LE(0) || 1

const dosHeader = () => ({
  e_magic: IMAGE_DOS_SIGNATURE,
  e_cblp: 0,
  e_cp: 0,
  e_crlc: 0,
  e_cparhdr: ImageDosHeader.size / 16,
  e_minalloc: 0,
  e_maxalloc: 0,
  e_ss: 0,
  e_sp: 0,
  e_csum: 0,
  e_ip: 0,
  e_cs: 0,
  e_lfarlc: ImageDosHeader.size,
  e_ovno: 0,
  e_res: new Uint8Array(8),
  e_oemid: 0,
  e_oeminfo: 0,
  e_res2: new Uint8Array(20),
  e_lfanew: NT_OFFSET,
})

interface PlacedSection extends NewSection {
  readonly fileSize: number
}

function optionalHeader(image: NewImage, sections: readonly PlacedSection[], sizeOfHeaders: number) {
  const total = (flag: number, size: (section: PlacedSection) => number): number =>
    sections.reduce((sum, section) => sum + ((section.characteristics & flag) === 0 ? 0 : size(section)), 0)
  const code = sections.find((section) => (section.characteristics & IMAGE_SCN.CNT_CODE) !== 0)
  const last = sections[sections.length - 1]
  return {
    Magic: IMAGE_NT_OPTIONAL_HDR64_MAGIC,
    MajorLinkerVersion: 14,
    MinorLinkerVersion: 0,
    SizeOfCode: total(IMAGE_SCN.CNT_CODE, (section) => section.fileSize),
    SizeOfInitializedData: total(IMAGE_SCN.CNT_INITIALIZED_DATA, (section) => section.fileSize),
    SizeOfUninitializedData: total(IMAGE_SCN.CNT_UNINITIALIZED_DATA, (section) => alignUp(section.size, FILE_ALIGNMENT)),
    AddressOfEntryPoint: 0,
    BaseOfCode: code?.rva ?? 0,
    ImageBase: image.imageBase,
    SectionAlignment: PAGE,
    FileAlignment: FILE_ALIGNMENT,
    // Windows 10 and 11 are 6.0 and later here; nothing asks for more.
    MajorOperatingSystemVersion: 6,
    MinorOperatingSystemVersion: 0,
    MajorImageVersion: 0,
    MinorImageVersion: 0,
    MajorSubsystemVersion: 6,
    MinorSubsystemVersion: 0,
    Win32VersionValue: 0,
    SizeOfImage: alignUp(last === undefined ? sizeOfHeaders : last.rva + last.size, PAGE),
    SizeOfHeaders: sizeOfHeaders,
    CheckSum: 0,
    Subsystem: IMAGE_SUBSYSTEM.WINDOWS_CUI,
    DllCharacteristics: image.dllCharacteristics,
    // A DLL's reserves are not used.
    SizeOfStackReserve: 0n,
    SizeOfStackCommit: 0n,
    SizeOfHeapReserve: 0n,
    SizeOfHeapCommit: 0n,
    LoaderFlags: 0,
    NumberOfRvaAndSizes: IMAGE_NUMBEROF_DIRECTORY_ENTRIES,
  }
}

/** The base relocation directory for 8-byte fields at these RVAs: one block per page, each a multiple of 4 bytes. */
export function encodeBaseRelocations(rvas: readonly number[]): Uint8Array {
  const byPage = new Map<number, number[]>()
  for (const rva of [...rvas].sort((a, b) => a - b)) {
    const page = rva - (rva % PAGE)
    const offsets = byPage.get(page)
    if (offsets === undefined) byPage.set(page, [rva - page])
    else offsets.push(rva - page)
  }
  const blocks = [...byPage].map(([page, offsets]) => {
    const block = new Uint8Array(alignUp(ImageBaseRelocation.size + offsets.length * 2, 4))
    const view = viewOf(block)
    ImageBaseRelocation.write(view, 0, { VirtualAddress: page, SizeOfBlock: block.length })
    for (const [i, offset] of offsets.entries())
      view.setUint16(ImageBaseRelocation.size + i * 2, IMAGE_REL_BASED.DIR64 * 0x1000 + offset, true)
    return block
  })
  return Buffer.concat(blocks)
}

export interface NewExport {
  readonly name: string
  readonly rva: number
}

/** The export directory at `rva`, with its tables and names behind it. Names must differ. */
export function encodeExports(dllName: string, rva: number, exports: readonly NewExport[]): Uint8Array {
  // The loader searches names by bisection, in the order of their bytes.
  const sorted = [...exports].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  const functionsAt = ImageExportDirectory.size
  const namesAt = functionsAt + sorted.length * 4
  const ordinalsAt = namesAt + sorted.length * 4
  let stringsAt = ordinalsAt + sorted.length * 2
  const strings: Buffer[] = []
  const addString = (text: string): number => {
    const bytes = Buffer.from(`${text}\0`, 'latin1')
    strings.push(bytes)
    stringsAt += bytes.length
    return rva + stringsAt - bytes.length
  }
  const dllNameRva = addString(dllName)
  const head = new Uint8Array(ordinalsAt + sorted.length * 2)
  const view = viewOf(head)
  ImageExportDirectory.write(view, 0, {
    Characteristics: 0,
    TimeDateStamp: 0,
    MajorVersion: 0,
    MinorVersion: 0,
    Name: dllNameRva,
    Base: 1,
    NumberOfFunctions: sorted.length,
    NumberOfNames: sorted.length,
    AddressOfFunctions: sorted.length === 0 ? 0 : rva + functionsAt,
    AddressOfNames: sorted.length === 0 ? 0 : rva + namesAt,
    AddressOfNameOrdinals: sorted.length === 0 ? 0 : rva + ordinalsAt,
  })
  for (const [i, each] of sorted.entries()) {
    view.setUint32(functionsAt + i * 4, each.rva, true)
    view.setUint32(namesAt + i * 4, addString(each.name), true)
    view.setUint16(ordinalsAt + i * 2, i, true)
  }
  return Buffer.concat([head, ...strings])
}
