/** How long functions are, by the exception directory. */
import { IMAGE_FILE_MACHINE } from '../coff/definitions.ts'
import { readRuntimeFunctions } from './directories.ts'
import { arm64Extent, arm64Records } from './functions-arm64.ts'
import { directory, type PeImage } from './reader.ts'

export interface FunctionExtent {
  /** RVA. */
  readonly begin: number
  /** Bytes. */
  readonly size: number
}

/** In the directory's order; what makes no sense is left out. Throws TRUNCATED where the directory, or what it leads to, is not in the image. */
export function functionExtents(image: PeImage): FunctionExtent[] {
  const all = image.fileHeader.Machine === IMAGE_FILE_MACHINE.ARM64 ? arm64Extents(image) : x64Extents(image)
  return all.filter(({ size }) => size > 0)
}

const x64Extents = (image: PeImage): FunctionExtent[] =>
  readRuntimeFunctions(image).map(({ BeginAddress, EndAddress }) => ({ begin: BeginAddress, size: EndAddress - BeginAddress }))

function arm64Extents(image: PeImage): FunctionExtent[] {
  const at = directory(image, 'EXCEPTION')
  if (at === undefined) return []
  return arm64Records(image.read(at.rva, at.size)).map((record) => ({
    begin: record.BeginAddress,
    size: arm64Extent(record, (rva, length) => image.read(rva, length)),
  }))
}
