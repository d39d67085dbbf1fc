/** Reads of a PDB what tells where things lie in its image: identity, public symbols, the symbols of each module. */
import { HotpatchError } from '../../errors.ts'
import { cstring, type Of, slice, viewOf } from '../struct.ts'
import {
  DBG_HEADER,
  DBI_VERSION_V70,
  DbiHeader,
  MODULE_SIGNATURE_SIZE,
  ModInfo,
  NO_STREAM_INDEX,
  PDB_STREAM,
  PdbInfoHeader,
} from './definitions.ts'
import { type Msf, readMsf } from './msf.ts'
import { buildInfoIndex, type PdbSymbol, readRecords, readSourceFiles, symbolOf } from './records.ts'

export interface Pdb {
  /** As readRsds gives it: 32 hexadecimal digits in the order a GUID is written, upper case. */
  readonly guid: string
  /** Of the image that it was last written for: what the image's RSDS record has. */
  readonly age: number
  /** Public symbols and global data, in file order. Throws TRUNCATED, MALFORMED. */
  globals(): PdbSymbol[]
  /** Throws TRUNCATED, MALFORMED. */
  modules(): PdbModule[]
}

export interface PdbModule {
  /** The object file, or the linker's own name for what it made. */
  readonly name: string
  /** The source file as the compiler was given it, where the module says so. */
  readonly sourceFile: string | undefined
  readonly symbols: readonly PdbSymbol[]
}

/** Throws FORMAT_UNKNOWN, TRUNCATED, MALFORMED. */
export function readPdb(data: Uint8Array): Pdb {
  const msf = readMsf(data)
  const stream = (index: number, what: string): Uint8Array => {
    const found = msf.stream(index)
    if (found === undefined) throw new HotpatchError('MALFORMED', `the PDB has no ${what} (stream ${index})`)
    return found
  }
  const info = PdbInfoHeader.readAt(stream(PDB_STREAM.INFO, 'information stream'), 0)
  const dbi = stream(PDB_STREAM.DBI, 'debug information stream')
  const header = DbiHeader.readAt(dbi, 0)
  if (header.VersionSignature !== -1 || header.VersionHeader !== DBI_VERSION_V70)
    throw new HotpatchError('MALFORMED', `the debug information stream of the PDB has version ${header.VersionHeader}`)
  const parts = substreams(dbi, header)
  if (wasRearranged(parts.debugHeaders))
    throw new HotpatchError('FORMAT_UNKNOWN', 'the image was rearranged after it was linked (the PDB has OMAP tables)')
  return {
    guid: guidOf(info),
    age: header.Age,
    globals: () =>
      header.SymRecordStream === NO_STREAM_INDEX
        ? []
        : [...symbolsIn(stream(header.SymRecordStream, 'stream of symbol records'), 'the public symbols')],
    modules: () => readModules(parts.modules, msf),
  }
}

const hex = (value: number, digits: number): string => value.toString(16).toUpperCase().padStart(digits, '0')

const guidOf = ({ Data1, Data2, Data3, Data4 }: Of<typeof PdbInfoHeader>): string =>
  hex(Data1, 8) + hex(Data2, 4) + hex(Data3, 4) + Buffer.from(Data4).toString('hex').toUpperCase()

function substreams(dbi: Uint8Array, header: Of<typeof DbiHeader>): { modules: Uint8Array; debugHeaders: Uint8Array } {
  const sizes = [
    header.ModInfoSize,
    header.SectionContributionSize,
    header.SectionMapSize,
    header.SourceInfoSize,
    header.TypeServerMapSize,
    header.ECSubstreamSize,
    header.OptionalDbgHeaderSize,
  ]
  const parts: Uint8Array[] = []
  let at: number = DbiHeader.size
  for (const size of sizes) {
    parts.push(slice(dbi, at, size, 'a part of the debug information stream'))
    at += size
  }
  return { modules: parts[0] as Uint8Array, debugHeaders: parts[6] as Uint8Array }
}

function wasRearranged(debugHeaders: Uint8Array): boolean {
  const view = viewOf(debugHeaders)
  return [DBG_HEADER.OMAP_TO_SRC, DBG_HEADER.OMAP_FROM_SRC].some(
    (i) => debugHeaders.length >= i * 2 + 2 && view.getUint16(i * 2, true) !== NO_STREAM_INDEX,
  )
}

function* symbolsIn(records: Uint8Array, what: string): Generator<PdbSymbol> {
  for (const record of readRecords(records, what)) {
    const symbol = symbolOf(record)
    if (symbol !== undefined) yield symbol
  }
}

function readModules(list: Uint8Array, msf: Msf): PdbModule[] {
  const ids = msf.stream(PDB_STREAM.IPI)
  const sources = ids === undefined || ids.length === 0 ? new Map<number, string>() : readSourceFiles(ids)
  const modules: PdbModule[] = []
  for (let at = 0; at + ModInfo.size <= list.length; ) {
    const { ModuleSymStream, SymByteSize } = ModInfo.readAt(list, at)
    const name = cstring(list, at + ModInfo.size, 'the name of a module')
    const object = cstring(list, at + ModInfo.size + name.length + 1, 'the object file of a module')
    at += Math.ceil((ModInfo.size + name.length + object.length + 2) / 4) * 4
    const symbols: PdbSymbol[] = []
    let sourceFile: string | undefined
    const stream = ModuleSymStream === NO_STREAM_INDEX ? undefined : msf.stream(ModuleSymStream)
    if (stream !== undefined && SymByteSize > MODULE_SIGNATURE_SIZE) {
      const records = slice(stream, MODULE_SIGNATURE_SIZE, SymByteSize - MODULE_SIGNATURE_SIZE, `the symbols of ${name}`)
      for (const record of readRecords(records, `the symbols of ${name}`)) {
        const symbol = symbolOf(record)
        if (symbol !== undefined) symbols.push(symbol)
        const source = buildInfoIndex(record)
        if (source !== undefined) sourceFile = sources.get(source)
      }
    }
    modules.push({ name: Buffer.from(name, 'latin1').toString('utf8'), sourceFile, symbols })
  }
  return modules
}
