/**
 * A PE patch image: a DLL that needs no loader but the engine. Its load configuration says where the hot patch table lies. It has
 * no relocations but DIR64 and no callbacks for threads: what it takes from the base image, the table's records bring; what from other modules,
 * its import address table.
 */
import { IMAGE_FILE_MACHINE, IMAGE_SCN } from '../binary/coff/definitions.ts'
import { IMAGE_REL_BASED } from '../binary/pe/definitions.ts'
import { readBaseRelocations, readImports, readLoadConfig, readTlsDirectory } from '../binary/pe/directories.ts'
import { RUNTIME_FUNCTION_SIZE } from '../binary/pe/frames.ts'
import { directory, type PeImage, type PeSection, readPe } from '../binary/pe/reader.ts'
import { viewOf } from '../binary/struct.ts'
import { SECTIONS } from './definitions.ts'
import type { PatchImage, PatchImport, PatchSegment, PatchThreadLocal, PatchUnwind, RelativeRelocation } from './image.ts'
import { type FileParts, imageSizeOf, initialValues, layoutError, notAPatchImage, pageUp, protectionOf, unsupported } from './parts.ts'

const tableRva = (image: PeImage): number => readLoadConfig(image)?.HotPatchTableOffset ?? 0

export const announcesTablePe = (file: Uint8Array): boolean => tableRva(readPe(file)) !== 0

export function readPeParts(file: Uint8Array): FileParts {
  const image = readPe(file)
  const at = tableRva(image)
  if (at === 0) throw notAPatchImage("the PE image's load configuration has no hot patch table")
  const machine = image.fileHeader.Machine === IMAGE_FILE_MACHINE.AMD64 ? 'x64' : 'arm64'
  refuseLoaderWork(image)
  const manifest = image.sections.find(({ name }) => name === SECTIONS.pe.manifest)
  if (manifest === undefined) throw layoutError(`the patch image has no section ${SECTIONS.pe.manifest}`)
  const segments = [headers(image), ...image.sections.filter(isMapped).map((section) => toSegment(image, section))]
  return {
    format: 'pe',
    machine,
    imageSize: imageSizeOf(segments),
    segments,
    relativeRelocations: readRelocations(image),
    ...importsOf(image),
    threadLocal: readThreadLocal(image),
    unwind: readUnwind(image, machine),
    table: image.window(at),
    manifest: image.read(manifest.rva, Math.min(manifest.size, manifest.fileSize)),
  }
}

function refuseLoaderWork(image: PeImage): void {
  if (directory(image, 'DELAY_IMPORT') !== undefined) throw unsupported('it imports functions of other modules when they are first called')
}

/** What only the linker or a loader reads is not mapped into a process: base relocations, the manifest. */
const isMapped = ({ characteristics, size }: PeSection): boolean => size > 0 && (characteristics & IMAGE_SCN.MEM_DISCARDABLE) === 0

/** The headers stay mapped: unwinders and debuggers take them for the image's identity. */
function headers(image: PeImage): PatchSegment {
  const size = image.optionalHeader.SizeOfHeaders
  if (size === 0) throw layoutError('the patch image says that it has no headers')
  return { rva: 0, size: pageUp(size), protection: 'r', content: image.read(0, size) }
}

function toSegment(image: PeImage, { name, rva, size, fileSize, characteristics }: PeSection): PatchSegment {
  const write = (characteristics & IMAGE_SCN.MEM_WRITE) !== 0
  const execute = (characteristics & IMAGE_SCN.MEM_EXECUTE) !== 0
  const protection = protectionOf(`section ${name}`, { write, execute })
  // The file is padded with zeros to its alignment: only what the section has in memory counts.
  return { rva, size: pageUp(size), protection, content: image.read(rva, Math.min(size, fileSize)) }
}

function readRelocations(image: PeImage): RelativeRelocation[] {
  return readBaseRelocations(image).map(({ rva, type }) => {
    if (type !== IMAGE_REL_BASED.DIR64) throw unsupported(`it has a base relocation of type ${type} at RVA 0x${rva.toString(16)}`)
    const address = viewOf(image.read(rva, 8)).getBigUint64(0, true)
    return { rva, addend: address - image.optionalHeader.ImageBase }
  })
}

function importsOf(image: PeImage): Pick<PatchImage, 'libraries' | 'imports'> {
  const imports = readImports(image).map(
    ({ slotRva, name, ordinal, library }): PatchImport => ({ rva: slotRva, name: name ?? `#${ordinal}`, version: undefined, library }),
  )
  return { libraries: [...new Set(imports.flatMap(({ library }) => library ?? []))], imports }
}

/** Where nothing but the copies of a section is wanted of the loader. The number of the module is the engine's to fill in, by records of the table. */
function readThreadLocal(image: PeImage): PatchThreadLocal | undefined {
  const found = readTlsDirectory(image)
  if (found === undefined) return undefined
  if (found.AddressOfCallBacks !== 0n) throw unsupported('it has callbacks for threads that begin and end')
  if (found.SizeOfZeroFill !== 0) throw unsupported(`it has ${found.SizeOfZeroFill} bytes of thread-local zeros outside of its sections`)
  const rva = rvaOf(image, found.StartAddressOfRawData)
  const size = Number(found.EndAddressOfRawData - found.StartAddressOfRawData)
  const section = image.sections.find((s) => rva >= s.rva && rva + size <= s.rva + s.size)
  if (size <= 0 || section === undefined) throw layoutError('its thread-local data are outside of its sections')
  if (image.read(rvaOf(image, found.AddressOfIndex), INDEX_SIZE).length < INDEX_SIZE)
    throw layoutError('the place for the number of its thread-local data is outside of the image')
  // What the section has no bytes for in the file is zero.
  const inFile = Math.max(0, Math.min(size, section.rva + section.fileSize - rva))
  const content = initialValues(inFile === 0 ? new Uint8Array() : image.read(rva, inFile), size)
  return { rva, size, alignment: alignmentOf(found.Characteristics), content, distances: [] }
}

const INDEX_SIZE = 4

/** As in a section header: 0 says nothing, n is 2 to the power of n - 1. */
const alignmentOf = (characteristics: number): number => 2 ** Math.max(0, ((characteristics & IMAGE_SCN.ALIGN_MASK) >>> 20) - 1)

function rvaOf(image: PeImage, address: bigint): number {
  const rva = address - image.optionalHeader.ImageBase
  if (rva < 0n || rva >= BigInt(image.optionalHeader.SizeOfImage))
    throw layoutError(`its TLS directory has the address 0x${address.toString(16)}, outside of the image`)
  return Number(rva)
}

function readUnwind(image: PeImage, machine: PatchImage['machine']): PatchUnwind | undefined {
  const at = directory(image, 'EXCEPTION')
  const count = at === undefined ? 0 : Math.floor(at.size / RUNTIME_FUNCTION_SIZE[machine])
  return at === undefined || count === 0 ? undefined : { kind: 'pdata', rva: at.rva, count }
}
