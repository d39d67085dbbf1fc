/** Reads a patch image file of either format, whole and checked: what comes out may be applied as far as the file alone can tell. */
import { isElf } from '../binary/elf/reader.ts'
import { isPeImage } from '../binary/pe/reader.ts'
import { HotpatchError } from '../errors.ts'
import { agree } from './agree.ts'
import { decodeHotPatchTable } from './decode.ts'
import type { PatchImage } from './image.ts'
import { parseManifest } from './manifest-codec.ts'
import type { FileParts } from './parts.ts'
import { checkParts } from './parts.ts'
import { announcesTableElf, readElfParts } from './read-elf.ts'
import { announcesTablePe, readPeParts } from './read-pe.ts'
import { imageDigest } from './signature.ts'
import { validateHotPatchTable } from './validate.ts'

/** Whether the file announces a hot patch table. Never throws: a damaged file is no patch image. */
export function isPatchImage(file: Uint8Array): boolean {
  try {
    return isElf(file) ? announcesTableElf(file) : isPeImage(file) && announcesTablePe(file)
  } catch (error) {
    if (error instanceof HotpatchError) return false
    throw error
  }
}

/**
 * Throws NOT_A_PATCH_IMAGE for a file that does not announce a table, the readers' FORMAT_UNKNOWN, MACHINE_UNSUPPORTED, TRUNCATED and
 * MALFORMED, and every code that begins with PATCH_.
 */
export function readPatchImage(file: Uint8Array): PatchImage {
  // Node's Buffer is a Uint8Array with other ideas of equality and JSON: what comes out has none.
  const parts = readParts(new Uint8Array(file.buffer, file.byteOffset, file.byteLength))
  const { table: tableBytes, manifest: manifestBytes, ...image } = parts
  checkParts(parts)
  const table = decodeHotPatchTable(tableBytes)
  const manifest = parseManifest(manifestBytes)
  const { machine, segments, relativeRelocations, imports, threadLocal } = image
  const baseImageSize = manifest.base.imageSize
  validateHotPatchTable(table, { machine, segments, relativeRelocations, imports, threadLocal, baseImageSize })
  agree(table, manifest, image)
  return { ...image, table, manifest, fileSha256: imageDigest(file) }
}

function readParts(file: Uint8Array): FileParts {
  if (isElf(file)) return readElfParts(file)
  if (isPeImage(file)) return readPeParts(file)
  throw new HotpatchError('NOT_A_PATCH_IMAGE', 'the file is neither an ELF shared object nor a PE image')
}
