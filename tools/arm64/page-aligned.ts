/**
 * A PE file whose sections begin at pages of the file. Linkers align them to 512 bytes, and what is not at a page Wine reads into memory of each process instead of mapping it. QEMU keeps
 * what it has translated by the page of memory that it was translated from: of a mapped file once for all processes, of a copy anew for each.
 */
import { ImageFileHeader, ImageSectionHeader } from '../../src/binary/coff/definitions.ts'
import { IMAGE_DIRECTORY_ENTRY, ImageDataDirectory, ImageOptionalHeader64 } from '../../src/binary/pe/definitions.ts'
import { readPe } from '../../src/binary/pe/reader.ts'
import { viewOf } from '../../src/binary/struct.ts'

const PAGE = 0x1000
const SIGNATURE_SIZE = 4
const NOTHING = { VirtualAddress: 0, Size: 0 }

const alignUp = (value: number): number => Math.ceil(value / PAGE) * PAGE

/** The same image as another file. What no section has is left out: symbols, and a signature, which would be wrong. Throws as `readPe`. */
export function pageAligned(file: Uint8Array): Uint8Array {
  const { ntOffset, fileHeader, optionalHeader, sections } = readPe(file)
  const optionalAt = ntOffset + SIGNATURE_SIZE + ImageFileHeader.size
  const headerAt = (section: number): number => optionalAt + fileHeader.SizeOfOptionalHeader + section * ImageSectionHeader.size
  const headers = file.subarray(0, optionalHeader.SizeOfHeaders)
  const SizeOfHeaders = alignUp(headers.length)
  const out = new Uint8Array(sections.reduce((end, { fileSize }) => end + alignUp(fileSize), SizeOfHeaders))
  const view = viewOf(out)
  out.set(headers)
  ImageFileHeader.write(view, ntOffset + SIGNATURE_SIZE, { ...fileHeader, PointerToSymbolTable: 0, NumberOfSymbols: 0 })
  ImageOptionalHeader64.write(view, optionalAt, { ...optionalHeader, FileAlignment: PAGE, SizeOfHeaders, CheckSum: 0 })
  const signature = optionalAt + ImageOptionalHeader64.size + IMAGE_DIRECTORY_ENTRY.SECURITY * ImageDataDirectory.size
  ImageDataDirectory.write(view, signature, NOTHING)
  let at = SizeOfHeaders
  for (const [i, { fileOffset, fileSize }] of sections.entries()) {
    const SizeOfRawData = alignUp(fileSize)
    const before = ImageSectionHeader.readAt(file, headerAt(i))
    ImageSectionHeader.write(view, headerAt(i), { ...before, SizeOfRawData, PointerToRawData: SizeOfRawData === 0 ? 0 : at })
    out.set(file.subarray(fileOffset, fileOffset + fileSize), at)
    at += SizeOfRawData
  }
  return out
}
