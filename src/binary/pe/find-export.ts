/** Looks one export up in an image in memory as its loader does: names by bisection, reading a few of them and not the table. */
import { viewOf } from '../struct.ts'
import { ImageExportDirectory } from './definitions.ts'
import { directory, type PeImage, readString } from './reader.ts'

export type FoundExport =
  | { readonly rva: number }
  /** `MODULE.name` or `MODULE.#12`. */
  | { readonly forwarder: string }

/**
 * @param name or `#12` for an ordinal
 * undefined: the image does not export it. Throws TRUNCATED, MALFORMED, and what the memory throws.
 */
export function findExport(image: PeImage, name: string): FoundExport | undefined {
  const at = directory(image, 'EXPORT')
  if (at === undefined) return undefined
  const table = ImageExportDirectory.readAt(image.read(at.rva, ImageExportDirectory.size), 0)
  const word = (rva: number): number => viewOf(image.read(rva, 4)).getUint32(0, true)
  const index = /^#\d+$/.test(name) ? Number(name.slice(1)) - table.Base : indexOf(image, table, name)
  if (index === undefined || index < 0 || index >= table.NumberOfFunctions) return undefined
  const rva = word(table.AddressOfFunctions + index * 4)
  if (rva === 0) return undefined
  return rva >= at.rva && rva < at.rva + at.size ? { forwarder: readString(image, rva, 'a forwarder') } : { rva }
}

interface NameTable {
  readonly NumberOfNames: number
  readonly AddressOfNames: number
  readonly AddressOfNameOrdinals: number
}

function indexOf(image: PeImage, table: NameTable, name: string): number | undefined {
  let low = 0
  let high = table.NumberOfNames
  while (low < high) {
    const middle = (low + high) >>> 1
    const at = viewOf(image.read(table.AddressOfNames + middle * 4, 4)).getUint32(0, true)
    const found = readString(image, at, 'the name of an export')
    if (found === name) return viewOf(image.read(table.AddressOfNameOrdinals + middle * 2, 2)).getUint16(0, true)
    if (found < name) low = middle + 1
    else high = middle
  }
  return undefined
}
