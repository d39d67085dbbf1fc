/** What makes an image that one and no other, from its file or from a process' memory alike. */
import { createHash } from 'node:crypto'
import { symbolServerId } from '../codeview/rsds.ts'
import { IMAGE_SCN } from '../coff/definitions.ts'
import { readBaseRelocations, readCodeView, readLoadConfig } from './directories.ts'
import { directory, type PeImage, type PeSection } from './reader.ts'

export interface PeIdentity {
  readonly timeDateStamp: number
  readonly checkSum: number
  /** GUID and age of the PDB as symbol servers write them. */
  readonly buildId: string | undefined
  readonly textSha256: Uint8Array
}

/** Throws TRUNCATED, MALFORMED, and what the process' memory throws. */
export const readPeIdentity = (image: PeImage): PeIdentity => {
  const rsds = readCodeView(image)
  return {
    timeDateStamp: image.fileHeader.TimeDateStamp,
    checkSum: image.optionalHeader.CheckSum,
    buildId: rsds === undefined ? undefined : symbolServerId(rsds),
    textSha256: textSha256(image),
  }
}

const isText = (section: PeSection): boolean => (section.characteristics & IMAGE_SCN.MEM_EXECUTE) !== 0

/** Executable sections in file order: what of them comes from the file. */
export const textRanges = (image: PeImage): { readonly rva: number; readonly size: number }[] =>
  image.sections.filter(isText).map((section) => ({ rva: section.rva, size: Math.min(section.size, section.fileSize) }))

/**
 * SHA-256 over the executable sections, with zeros where the loader writes: relocated fields, the import address table and the
 * pointers of the load configuration, should they lie in text.
 */
export function textSha256(image: PeImage): Uint8Array {
  const hash = createHash('sha256')
  const written = loaderWrites(image)
  for (const range of textRanges(image)) {
    const inside = written.filter((write) => write.rva < range.rva + range.size && write.rva + write.size > range.rva)
    const bytes = image.read(range.rva, range.size)
    const text = inside.length === 0 ? bytes : bytes.slice()
    for (const write of inside) text.fill(0, Math.max(0, write.rva - range.rva), write.rva + write.size - range.rva)
    hash.update(text)
  }
  return hash.digest()
}

interface Write {
  readonly rva: number
  readonly size: number
}

/** What the loader writes in an image, relocations of pages without text left out. */
function loaderWrites(image: PeImage): Write[] {
  const ranges = textRanges(image)
  const inText = (rva: number): boolean => ranges.some((range) => rva + 8 > range.rva && rva < range.rva + range.size)
  const writes: Write[] = readBaseRelocations(image)
    .filter((relocation) => inText(relocation.rva))
    .map(({ rva }) => ({ rva, size: 8 }))
  const iat = directory(image, 'IAT')
  if (iat !== undefined) writes.push(iat)
  const config = readLoadConfig(image)
  if (config === undefined) return writes
  // Addresses, already relocated in memory; the headers there say where to.
  for (const address of [config.SecurityCookie, config.GuardCFCheckFunctionPointer, config.GuardCFDispatchFunctionPointer]) {
    const rva = Number(address - image.optionalHeader.ImageBase)
    if (address !== 0n && inText(rva)) writes.push({ rva, size: 8 })
  }
  return writes
}
