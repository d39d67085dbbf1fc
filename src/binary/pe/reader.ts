/**
 * Reads the headers of a PE32+ image, and gives its bytes by RVA: from a file (sections lie where their headers say) or as
 * mapped in a process (RVA = offset from the module's base). Directories are read by the files beside this one, from either.
 * Nothing in the image is trusted.
 */

import { HotpatchError } from '../../errors.ts'
import { IMAGE_FILE_MACHINE, ImageFileHeader, ImageSectionHeader } from '../coff/definitions.ts'
import { sectionName } from '../coff/reader.ts'
import { type CoffSymbol, readSymbols, type SymbolTableLocation, stringTable } from '../coff/symbols.ts'
import { type Of, slice, viewOf } from '../struct.ts'
import {
  type DirectoryName,
  IMAGE_DIRECTORY_ENTRY,
  IMAGE_DOS_SIGNATURE,
  IMAGE_NT_OPTIONAL_HDR32_MAGIC,
  IMAGE_NT_OPTIONAL_HDR64_MAGIC,
  IMAGE_NT_SIGNATURE,
  IMAGE_NUMBEROF_DIRECTORY_ENTRIES,
  ImageDataDirectory,
  ImageDosHeader,
  ImageOptionalHeader64,
} from './definitions.ts'

export interface PeHeaders {
  /** File offset of the NT headers' signature. */
  readonly ntOffset: number
  readonly fileHeader: Of<typeof ImageFileHeader>
  readonly optionalHeader: Of<typeof ImageOptionalHeader64>
  /** As many as the optional header announces, 16 at most. */
  readonly directories: readonly Of<typeof ImageDataDirectory>[]
  readonly sections: readonly PeSection[]
}

export interface PeSection {
  /** The long name where the file has one; as mapped, the short form. */
  readonly name: string
  readonly rva: number
  /** Bytes in memory. */
  readonly size: number
  /** File offset, 0 where nothing of it is in the file. */
  readonly fileOffset: number
  /** Bytes in the file that are mapped: never more than `size` rounded up to pages. */
  readonly fileSize: number
  /** IMAGE_SCN. */
  readonly characteristics: number
}

export interface PeImage extends PeHeaders {
  /**
   * `length` bytes at `rva`, zeros where the file has none. From a file a view, as mapped before relocation. Throws TRUNCATED
   * where the image does not map the range, and what the process' memory throws.
   */
  read(rva: number, length: number): Uint8Array
  /** At least one byte at `rva` and as many as can be had at no cost: to look for an end. Throws as `read`. */
  window(rva: number): Uint8Array
  /** The whole file; undefined for an image in memory. */
  readonly file: Uint8Array | undefined
}

const SIGNATURE_SIZE = 4

/** Whether the data begins as a PE image of any machine does. */
export function isPeImage(data: Uint8Array): boolean {
  if (data.length < ImageDosHeader.size) return false
  const view = viewOf(data)
  const at = view.getInt32(ImageDosHeader.offsets.e_lfanew, true)
  return (
    view.getUint16(0, true) === IMAGE_DOS_SIGNATURE &&
    at >= 0 &&
    at + SIGNATURE_SIZE <= data.length &&
    view.getUint32(at, true) === IMAGE_NT_SIGNATURE
  )
}

/** A PE32+ image file. Throws FORMAT_UNKNOWN, MACHINE_UNSUPPORTED (PE32, other processors), TRUNCATED, MALFORMED. */
export function readPe(file: Uint8Array): PeImage {
  const headers = readHeaders((at, length) => slice(file, at, length, 'the PE headers'))
  const strings = stringTable(file, symbolTableOf(headers))
  const sections = headers.sections.map((section) => ({ ...section, name: sectionName(section.name, strings) }))
  const inFile = { ...headers, sections }
  return { ...inFile, file, ...fileSpace(file, inFile) }
}

const PAGE = 0x1000

/**
 * An image as it is mapped. `readMemory(rva, length)` gives exactly `length` bytes or throws; what it throws is passed on.
 * Throws as `readPe`.
 */
export function readPeFromMemory(readMemory: (rva: number, length: number) => Uint8Array): PeImage {
  const firstPage = readMemory(0, PAGE)
  const headers = readHeaders((at, length) =>
    at + length <= PAGE ? slice(firstPage, at, length, 'the PE headers') : readMemory(at, length),
  )
  const size = headers.optionalHeader.SizeOfImage
  const read = (rva: number, length: number): Uint8Array => {
    if (!Number.isSafeInteger(rva) || !Number.isSafeInteger(length) || rva < 0 || length < 0 || rva + length > size)
      throw new HotpatchError('TRUNCATED', `${length} bytes at RVA ${hex(rva)} are outside of the image of ${hex(size)} bytes`)
    return length === 0 ? new Uint8Array() : readMemory(rva, length)
  }
  return { ...headers, file: undefined, read, window: (rva) => read(rva, Math.min(PAGE - (rva % PAGE), size - rva)) }
}

/** The file's COFF symbol table, which linkers of the GNU kind leave in images. Empty where there is none. Throws as readSymbols. */
export const readImageSymbols = (image: PeImage): CoffSymbol[] =>
  image.file === undefined ? [] : readSymbols(image.file, symbolTableOf(image))

/** A data directory, undefined where the image has none of it. */
export function directory(image: PeHeaders, name: DirectoryName): { readonly rva: number; readonly size: number } | undefined {
  const entry = image.directories[IMAGE_DIRECTORY_ENTRY[name]]
  return entry === undefined || entry.VirtualAddress === 0 ? undefined : { rva: entry.VirtualAddress, size: entry.Size }
}

/** The zero-terminated Latin-1 string at `rva`, `limit` characters at most. Throws TRUNCATED, MALFORMED. */
export function readString(image: PeImage, rva: number, what: string, limit = 4096): string {
  let text = ''
  for (let at = rva; text.length <= limit; ) {
    const window = image.window(at).subarray(0, limit + 1)
    const end = window.indexOf(0)
    text += Buffer.from(window.buffer, window.byteOffset, end < 0 ? window.length : end).toString('latin1')
    if (end >= 0) return text
    at += window.length
  }
  throw new HotpatchError('MALFORMED', `${what} at RVA ${hex(rva)} is longer than ${limit} characters`)
}

/** A number as messages write it. */
export const hex = (value: number): string => `0x${value.toString(16)}`

type ReadHeader = (at: number, length: number) => Uint8Array

function readHeaders(read: ReadHeader): PeHeaders {
  const dos = ImageDosHeader.readAt(read(0, ImageDosHeader.size), 0)
  if (dos.e_magic !== IMAGE_DOS_SIGNATURE) throw new HotpatchError('FORMAT_UNKNOWN', 'the data does not begin as a PE image does (MZ)')
  const ntOffset = dos.e_lfanew
  const fixed = SIGNATURE_SIZE + ImageFileHeader.size
  const nt = read(ntOffset, fixed)
  if (viewOf(nt).getUint32(0, true) !== IMAGE_NT_SIGNATURE)
    throw new HotpatchError('FORMAT_UNKNOWN', `there is no PE signature at offset ${hex(ntOffset)}`)
  const fileHeader = ImageFileHeader.readAt(nt, SIGNATURE_SIZE)
  const optional = read(ntOffset + fixed, fileHeader.SizeOfOptionalHeader)
  const optionalHeader = readOptionalHeader(fileHeader, optional)
  const present = Math.min(optionalHeader.NumberOfRvaAndSizes, IMAGE_NUMBEROF_DIRECTORY_ENTRIES)
  const directories = ImageDataDirectory.readMany(optional, ImageOptionalHeader64.size, present)
  const tableAt = ntOffset + fixed + fileHeader.SizeOfOptionalHeader
  const table = read(tableAt, fileHeader.NumberOfSections * ImageSectionHeader.size)
  const sections = ImageSectionHeader.readMany(table, 0, fileHeader.NumberOfSections).map((header) => toSection(header))
  checkSections(sections, optionalHeader)
  return { ntOffset, fileHeader, optionalHeader, directories, sections }
}

function readOptionalHeader(fileHeader: PeHeaders['fileHeader'], data: Uint8Array): PeHeaders['optionalHeader'] {
  const magic = data.length < 2 ? 0 : viewOf(data).getUint16(0, true)
  if (magic === IMAGE_NT_OPTIONAL_HDR32_MAGIC) throw new HotpatchError('MACHINE_UNSUPPORTED', 'the image is a 32-bit one (PE32)')
  if (magic !== IMAGE_NT_OPTIONAL_HDR64_MAGIC) throw new HotpatchError('MALFORMED', `the optional header's magic is ${hex(magic)}`)
  if (fileHeader.Machine !== IMAGE_FILE_MACHINE.AMD64 && fileHeader.Machine !== IMAGE_FILE_MACHINE.ARM64)
    throw new HotpatchError('MACHINE_UNSUPPORTED', `the image is for machine ${hex(fileHeader.Machine)}`)
  return ImageOptionalHeader64.readAt(data, 0)
}

const toSection = (header: Of<typeof ImageSectionHeader>): PeSection => {
  // A VirtualSize of 0 means the raw size, as the loader takes it.
  const size = header.VirtualSize === 0 ? header.SizeOfRawData : header.VirtualSize
  const inFile = header.PointerToRawData !== 0
  return {
    name: header.Name,
    rva: header.VirtualAddress,
    size,
    fileOffset: inFile ? header.PointerToRawData : 0,
    fileSize: inFile ? Math.min(header.SizeOfRawData, Math.ceil(size / PAGE) * PAGE) : 0,
    characteristics: header.Characteristics,
  }
}

function checkSections(sections: readonly PeSection[], header: PeHeaders['optionalHeader']): void {
  let end = header.SizeOfHeaders
  for (const section of sections) {
    if (section.rva < end)
      throw new HotpatchError('MALFORMED', `section ${section.name} at RVA ${hex(section.rva)} overlaps what is before it`)
    end = section.rva + section.size
    if (end > header.SizeOfImage)
      throw new HotpatchError(
        'MALFORMED',
        `section ${section.name} ends at RVA ${hex(end)}, beyond the image's ${hex(header.SizeOfImage)} bytes`,
      )
  }
}

const symbolTableOf = ({ fileHeader }: PeHeaders): SymbolTableLocation => ({
  pointer: fileHeader.PointerToSymbolTable,
  count: fileHeader.NumberOfSymbols,
  bigobj: false,
})

/** Zeros that a read may have to make up: enough for every structure, too few to eat the memory. */
const MOST_ZEROS = 0x100000

function fileSpace(file: Uint8Array, { optionalHeader, sections }: PeHeaders): Pick<PeImage, 'read' | 'window'> {
  const headerSize = Math.min(optionalHeader.SizeOfHeaders, file.length)
  const find = (rva: number): { content: Uint8Array; within: number; size: number } => {
    const section = sectionAt(sections, rva)
    if (section !== undefined) {
      const size = Math.max(section.size, section.fileSize)
      return { content: file.subarray(section.fileOffset, section.fileOffset + section.fileSize), within: rva - section.rva, size }
    }
    if (rva >= 0 && rva < headerSize) return { content: file.subarray(0, headerSize), within: rva, size: headerSize }
    throw new HotpatchError('TRUNCATED', `nothing of the image lies at RVA ${hex(rva)}`)
  }
  return {
    read(rva, length) {
      if (length === 0) return new Uint8Array()
      const { content, within, size } = find(rva)
      if (!Number.isSafeInteger(length) || length < 0 || within + length > size)
        throw new HotpatchError('TRUNCATED', `${length} bytes at RVA ${hex(rva)} do not lie in one section`)
      if (within + length <= content.length) return content.subarray(within, within + length)
      if (length > MOST_ZEROS) throw new HotpatchError('MALFORMED', `${length} bytes at RVA ${hex(rva)} are not in the file`)
      const filled = new Uint8Array(length)
      filled.set(content.subarray(within, within + length))
      return filled
    },
    window(rva) {
      const { content, within } = find(rva)
      return within < content.length ? content.subarray(within) : new Uint8Array(1)
    },
  }
}

/** The section that maps `rva`, up to the end of its last page's file bytes. */
export function sectionAt(sections: readonly PeSection[], rva: number): PeSection | undefined {
  let low = 0
  let high = sections.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sections[middle] as PeSection).rva <= rva) low = middle + 1
    else high = middle
  }
  const section = sections[low - 1]
  return section !== undefined && rva < section.rva + Math.max(section.size, section.fileSize) ? section : undefined
}
