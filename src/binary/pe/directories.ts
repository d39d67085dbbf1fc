/** What the data directories of an image hold: exports, imports, relocations, debug records, the load configuration. */

import { HotpatchError } from '../../errors.ts'
import { type Rsds, readRsds } from '../codeview/rsds.ts'
import { type Of, type Struct, slice, viewOf } from '../struct.ts'
import {
  IMAGE_DEBUG_TYPE,
  IMAGE_ORDINAL_FLAG64,
  ImageBaseRelocation,
  ImageDebugDirectory,
  ImageDelayloadDescriptor,
  ImageExportDirectory,
  ImageImportDescriptor,
  ImageLoadConfigDirectory64,
  ImageTlsDirectory64,
  RuntimeFunction,
} from './definitions.ts'
import { directory, hex, type PeImage, readString } from './reader.ts'

export interface PeExports {
  /** The DLL's own name. */
  readonly name: string
  readonly exports: readonly PeExport[]
}

export interface PeExport {
  /** undefined: by ordinal only. */
  readonly name: string | undefined
  readonly ordinal: number
  /** 0 for a forwarder. */
  readonly rva: number
  /** `module.function` where the export leads to another module. */
  readonly forwarder: string | undefined
}

export interface PeImport {
  readonly library: string
  /** undefined: by ordinal. */
  readonly name: string | undefined
  /** undefined: by name. */
  readonly ordinal: number | undefined
  /** RVA of the pointer in the import address table. */
  readonly slotRva: number
  /** Bound on the first call rather than when the image is loaded. */
  readonly delayed: boolean
}

export interface BaseRelocation {
  readonly rva: number
  /** IMAGE_REL_BASED. */
  readonly type: number
}

/** All throw TRUNCATED and MALFORMED, and what the process' memory throws. */

/** undefined: the image exports nothing. */
export function readExports(image: PeImage): PeExports | undefined {
  const at = directory(image, 'EXPORT')
  if (at === undefined) return undefined
  const table = readStruct(image, ImageExportDirectory, at.rva)
  const text = names(image)
  const functions = u32s(image, table.AddressOfFunctions, table.NumberOfFunctions)
  const nameRvas = u32s(image, table.AddressOfNames, table.NumberOfNames)
  const indices = viewOf(image.read(table.AddressOfNameOrdinals, table.NumberOfNames * 2))
  const toExport = (name: string | undefined, index: number): PeExport => {
    const rva = functions(index)
    const forwarded = rva >= at.rva && rva < at.rva + at.size
    return {
      name,
      ordinal: table.Base + index,
      rva: forwarded ? 0 : rva,
      forwarder: forwarded ? text(rva, 'a forwarder') : undefined,
    }
  }
  const exports: PeExport[] = []
  const named = new Set<number>()
  for (let i = 0; i < table.NumberOfNames; i++) {
    const index = indices.getUint16(i * 2, true)
    if (index >= table.NumberOfFunctions)
      throw new HotpatchError('MALFORMED', `export name ${i} is of function ${index}, there are ${table.NumberOfFunctions}`)
    named.add(index)
    exports.push(toExport(text(nameRvas(i), 'the name of an export'), index))
  }
  for (let index = 0; index < table.NumberOfFunctions; index++)
    if (!named.has(index) && functions(index) !== 0) exports.push(toExport(undefined, index))
  return { name: table.Name === 0 ? '' : text(table.Name, 'the name of the DLL'), exports }
}

/** Those of the import directory and of the delay import directory. */
export function readImports(image: PeImage): PeImport[] {
  const imports: PeImport[] = []
  const text = names(image)
  const eager = directory(image, 'IMPORT')
  if (eager !== undefined)
    for (const entry of untilEmpty(image, ImageImportDescriptor, eager.rva, (entry) => entry.Name === 0 || entry.FirstThunk === 0)) {
      const lookup = entry.OriginalFirstThunk === 0 ? entry.FirstThunk : entry.OriginalFirstThunk
      readThunks(
        image,
        text,
        { library: text(entry.Name, 'the name of an imported library'), lookup, slots: entry.FirstThunk, delayed: false },
        imports,
      )
    }
  const delayed = directory(image, 'DELAY_IMPORT')
  if (delayed !== undefined)
    for (const entry of untilEmpty(image, ImageDelayloadDescriptor, delayed.rva, (entry) => entry.DllNameRVA === 0)) {
      const library = text(entry.DllNameRVA, 'the name of a delayed library')
      readThunks(image, text, { library, lookup: entry.ImportNameTableRVA, slots: entry.ImportAddressTableRVA, delayed: true }, imports)
    }
  return imports
}

export function readBaseRelocations(image: PeImage): BaseRelocation[] {
  const at = directory(image, 'BASERELOC')
  if (at === undefined) return []
  const data = image.read(at.rva, at.size)
  const view = viewOf(data)
  const relocations: BaseRelocation[] = []
  for (let block = 0; block + ImageBaseRelocation.size <= data.length; ) {
    const { VirtualAddress, SizeOfBlock } = ImageBaseRelocation.readAt(data, block)
    // Some linkers pad the directory with zeros.
    if (SizeOfBlock === 0) break
    if (SizeOfBlock < ImageBaseRelocation.size || block + SizeOfBlock > data.length)
      throw new HotpatchError('MALFORMED', `the block of base relocations at RVA ${hex(at.rva + block)} has ${SizeOfBlock} bytes`)
    for (let entry = block + ImageBaseRelocation.size; entry + 2 <= block + SizeOfBlock; entry += 2) {
      const word = view.getUint16(entry, true)
      // Type 0 fills blocks up to 4 bytes.
      if (word >> 12 !== 0) relocations.push({ rva: VirtualAddress + (word & 0xfff), type: word >> 12 })
    }
    block += SizeOfBlock
  }
  return relocations
}

/** x64: the exception directory's records, in file order (which is by ascending address where the linker did its work). */
export function readRuntimeFunctions(image: PeImage): Of<typeof RuntimeFunction>[] {
  const at = directory(image, 'EXCEPTION')
  if (at === undefined) return []
  const count = Math.floor(at.size / RuntimeFunction.size)
  const view = viewOf(image.read(at.rva, count * RuntimeFunction.size))
  return Array.from({ length: count }, (_, i) => ({
    BeginAddress: view.getUint32(i * 12, true),
    EndAddress: view.getUint32(i * 12 + 4, true),
    UnwindData: view.getUint32(i * 12 + 8, true),
  }))
}

export function readDebugDirectory(image: PeImage): Of<typeof ImageDebugDirectory>[] {
  const at = directory(image, 'DEBUG')
  if (at === undefined) return []
  const count = Math.floor(at.size / ImageDebugDirectory.size)
  return ImageDebugDirectory.readMany(image.read(at.rva, count * ImageDebugDirectory.size), 0, count)
}

/** Which PDB belongs to the image. undefined: it does not say. */
export function readCodeView(image: PeImage): Rsds | undefined {
  for (const entry of readDebugDirectory(image)) {
    if (entry.Type !== IMAGE_DEBUG_TYPE.CODEVIEW) continue
    const mapped = entry.AddressOfRawData !== 0
    if (!mapped && image.file === undefined) continue
    const record = mapped
      ? image.read(entry.AddressOfRawData, entry.SizeOfData)
      : slice(image.file as Uint8Array, entry.PointerToRawData, entry.SizeOfData, 'a CodeView record')
    const rsds = readRsds(record)
    if (rsds !== undefined) return rsds
  }
  return undefined
}

/** undefined: the image has no thread-local data. */
export function readTlsDirectory(image: PeImage): Of<typeof ImageTlsDirectory64> | undefined {
  const at = directory(image, 'TLS')
  return at === undefined ? undefined : readStruct(image, ImageTlsDirectory64, at.rva)
}

/** undefined: the image has none. Fields beyond its own size are 0. */
export function readLoadConfig(image: PeImage): Of<typeof ImageLoadConfigDirectory64> | undefined {
  const at = directory(image, 'LOAD_CONFIG')
  if (at === undefined) return undefined
  const size = Math.min(viewOf(image.read(at.rva, 4)).getUint32(0, true), ImageLoadConfigDirectory64.size)
  const whole = new Uint8Array(ImageLoadConfigDirectory64.size)
  whole.set(image.read(at.rva, Math.max(size, 4)))
  return ImageLoadConfigDirectory64.readAt(whole, 0)
}

const readStruct = <T>(image: PeImage, type: Struct<T>, rva: number): T => type.readAt(image.read(rva, type.size), 0)

/** An array of u32 in the image: an accessor. */
function u32s(image: PeImage, rva: number, count: number): (index: number) => number {
  const view = viewOf(count === 0 ? new Uint8Array() : image.read(rva, count * 4))
  return (index) => view.getUint32(index * 4, true)
}

/** Structures in a row up to one that ends the list. The image ends, so the loop does. */
function* untilEmpty<T>(image: PeImage, type: Struct<T>, rva: number, isEnd: (entry: T) => boolean): Generator<T> {
  for (let at = rva; ; at += type.size) {
    const entry = readStruct(image, type, at)
    if (isEnd(entry)) return
    yield entry
  }
}

type ReadName = (rva: number, what: string) => string

/** Names may overlap in a hostile image: together they may not be much longer than the image. */
function names(image: PeImage): ReadName {
  let budget = 4 * Math.min(image.file?.length ?? image.optionalHeader.SizeOfImage, 0x4000000) + 0x10000
  return (rva, what) => {
    const text = readString(image, rva, what)
    budget -= text.length + 1
    if (budget < 0) throw new HotpatchError('MALFORMED', 'the names in the image overlap beyond measure')
    return text
  }
}

interface ThunkTable {
  readonly library: string
  readonly lookup: number
  readonly slots: number
  readonly delayed: boolean
}

/** More than any image imports; a hostile one may lead every descriptor to the same table. */
const MOST_IMPORTS = 0x40000

function readThunks(image: PeImage, text: ReadName, table: ThunkTable, into: PeImport[]): void {
  for (let i = 0; ; i++) {
    const thunk = viewOf(image.read(table.lookup + i * 8, 8)).getBigUint64(0, true)
    if (thunk === 0n) return
    if (into.length >= MOST_IMPORTS) throw new HotpatchError('MALFORMED', `the image imports more than ${MOST_IMPORTS} functions`)
    const byOrdinal = (thunk & IMAGE_ORDINAL_FLAG64) !== 0n
    into.push({
      library: table.library,
      // IMAGE_IMPORT_BY_NAME: a 2-byte hint, then the name.
      name: byOrdinal ? undefined : text(Number(thunk & 0x7fffffffn) + 2, 'the name of an import'),
      ordinal: byOrdinal ? Number(thunk & 0xffffn) : undefined,
      slotRva: table.slots + i * 8,
      delayed: table.delayed,
    })
  }
}
