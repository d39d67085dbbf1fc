/** Writes an import directory as linkers do: descriptors, lookup tables, the import address table, names. */
import { viewOf } from '../struct.ts'
import { IMAGE_ORDINAL_FLAG64, ImageImportDescriptor } from './definitions.ts'

export interface NewImportedLibrary {
  readonly library: string
  /** By name, or `#12` for an ordinal. */
  readonly names: readonly string[]
}

export interface ImportLayout {
  /** Bytes of everything. */
  readonly size: number
  /** Of the descriptors, which the directory entry covers: they come first. */
  readonly descriptorsSize: number
  /** Of the import address table, which has a directory entry of its own. */
  readonly addresses: { readonly offset: number; readonly size: number }
  /** The offset of a name's slot in it. */
  slot(library: number, name: number): number
  /** The bytes, once it is known at which RVA they begin; a multiple of 8. */
  encode(rva: number): Uint8Array
}

const THUNK = 8
const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment

export function layOutImports(libraries: readonly NewImportedLibrary[]): ImportLayout {
  const descriptorsSize = (libraries.length + 1) * ImageImportDescriptor.size
  // A list of thunks ends with a zero.
  const starts: number[] = []
  let thunks = 0
  for (const { names } of libraries) {
    starts.push(thunks)
    thunks += (names.length + 1) * THUNK
  }
  const lookupAt = alignUp(descriptorsSize, THUNK)
  const addressesAt = lookupAt + thunks
  let end = addressesAt + thunks
  const strings: { at: number; bytes: Uint8Array }[] = []
  const addString = (text: string, hint: boolean): number => {
    const at = alignUp(end, 2)
    const bytes = Buffer.from(`${hint ? '\0\0' : ''}${text}\0`, 'latin1')
    strings.push({ at, bytes })
    end = at + bytes.length
    return at
  }
  const libraryNames = libraries.map(({ library }) => addString(library, false))
  const isOrdinal = (name: string): boolean => /^#\d+$/.test(name)
  const nameOffsets = libraries.map(({ names }) => names.map((name) => (isOrdinal(name) ? undefined : addString(name, true))))

  const encode = (rva: number): Uint8Array => {
    const data = new Uint8Array(end)
    const view = viewOf(data)
    libraries.forEach(({ names }, i) => {
      const start = starts[i] as number
      ImageImportDescriptor.write(view, i * ImageImportDescriptor.size, {
        OriginalFirstThunk: rva + lookupAt + start,
        TimeDateStamp: 0,
        ForwarderChain: 0,
        Name: rva + (libraryNames[i] as number),
        FirstThunk: rva + addressesAt + start,
      })
      names.forEach((name, j) => {
        const offset = nameOffsets[i]?.[j]
        const thunk = offset === undefined ? IMAGE_ORDINAL_FLAG64 | BigInt(name.slice(1)) : BigInt(rva + offset)
        for (const table of [lookupAt, addressesAt]) view.setBigUint64(table + start + j * THUNK, thunk, true)
      })
    })
    for (const { at, bytes } of strings) data.set(bytes, at)
    return data
  }
  return {
    size: end,
    descriptorsSize,
    addresses: { offset: addressesAt, size: thunks },
    slot: (library, name) => addressesAt + (starts[library] as number) + name * THUNK,
    encode,
  }
}
