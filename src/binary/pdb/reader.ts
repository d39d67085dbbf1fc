/** Reads of a PDB what tells where things lie in its image (identity, public symbols, the symbols of each module) and of which types they are. */
import { HotpatchError } from '../../errors.ts'
import { type CodeViewRecord, recordsIn } from '../codeview/records.ts'
import type { TypeRecords } from '../codeview/type-records.ts'
import { cstring, type Of, slice, viewOf } from '../struct.ts'
import { type Contribution, readContributions } from './contributions.ts'
import { DBG_HEADER, DBI_VERSION_V70, DbiHeader, MODULE_SIGNATURE_SIZE, ModInfo, NO_STREAM_INDEX, PDB_STREAM } from './definitions.ts'
import { readInformation, requiredStream } from './information.ts'
import { type Msf, readMsf } from './msf.ts'
import { buildInfoIndex, type PdbSymbol, readSourceFiles, symbolOf } from './records.ts'
import { readTypeRecords } from './type-server.ts'
import { readTypeStream } from './type-stream.ts'

export interface Pdb {
  /** As readRsds gives it: 32 hexadecimal digits in the order a GUID is written, upper case. */
  readonly guid: string
  /** Of the image that it was last written for: what the image's RSDS record has. */
  readonly age: number
  /** Public symbols and global data, in file order. Throws TRUNCATED, MALFORMED. */
  globals(): PdbSymbol[]
  /** The records of these and of all else that is global: names of types, references to procedures. Throws TRUNCATED, MALFORMED. */
  globalRecords(): CodeViewRecord[]
  /** Throws TRUNCATED, MALFORMED, FORMAT_UNKNOWN. */
  modules(): PdbModule[]
  /** By the section of the image and the place in it. Throws TRUNCATED, FORMAT_UNKNOWN. */
  contributions(): Contribution[]
  /** Throws TRUNCATED, MALFORMED, FORMAT_UNKNOWN. */
  types(): TypeRecords
}

export interface PdbModule {
  /** The object file, or the linker's own name for what it made. Of a member of an archive the member. */
  readonly name: string
  /** The archive; of an object that was in none the object file. */
  readonly file: string
  /** The source file as the compiler was given it, where the module says so. */
  readonly sourceFile: string | undefined
  readonly records: readonly CodeViewRecord[]
  readonly symbols: readonly PdbSymbol[]
}

/** Of a PDB that a linker has written. Throws FORMAT_UNKNOWN, TRUNCATED, MALFORMED. */
export function readPdb(data: Uint8Array): Pdb {
  const msf = readMsf(data)
  const { guid } = readInformation(msf)
  const dbi = requiredStream(msf, PDB_STREAM.DBI, 'debug information stream')
  const header = DbiHeader.readAt(dbi, 0)
  if (header.VersionSignature !== -1 || header.VersionHeader !== DBI_VERSION_V70)
    throw new HotpatchError('MALFORMED', `the debug information stream of the PDB has version ${header.VersionHeader}`)
  const parts = substreams(dbi, header)
  if (wasRearranged(parts.debugHeaders))
    throw new HotpatchError('FORMAT_UNKNOWN', 'the image was rearranged after it was linked (the PDB has OMAP tables)')
  const globalRecords = (): CodeViewRecord[] =>
    header.SymRecordStream === NO_STREAM_INDEX
      ? []
      : recordsOf(requiredStream(msf, header.SymRecordStream, 'stream of symbol records'), 'the public symbols')
  return {
    guid,
    age: header.Age,
    globals: () => symbolsIn(globalRecords()),
    globalRecords,
    modules: () => readModules(parts.modules, msf),
    contributions: () => readContributions(parts.contributions),
    types: () => readTypeRecords(msf),
  }
}

function substreams(
  dbi: Uint8Array,
  header: Of<typeof DbiHeader>,
): { modules: Uint8Array; contributions: Uint8Array; debugHeaders: Uint8Array } {
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
  return { modules: parts[0] as Uint8Array, contributions: parts[1] as Uint8Array, debugHeaders: parts[6] as Uint8Array }
}

function wasRearranged(debugHeaders: Uint8Array): boolean {
  const view = viewOf(debugHeaders)
  return [DBG_HEADER.OMAP_TO_SRC, DBG_HEADER.OMAP_FROM_SRC].some(
    (i) => debugHeaders.length >= i * 2 + 2 && view.getUint16(i * 2, true) !== NO_STREAM_INDEX,
  )
}

const recordsOf = (stream: Uint8Array, what: string): CodeViewRecord[] => [...recordsIn(stream, 0, stream.length, what)]

const symbolsIn = (records: readonly CodeViewRecord[]): PdbSymbol[] => records.flatMap((record) => symbolOf(record) ?? [])

function readModules(list: Uint8Array, msf: Msf): PdbModule[] {
  const sources = readSourceFiles(readTypeStream(msf.stream(PDB_STREAM.IPI), 'the id stream of the PDB'))
  const modules: PdbModule[] = []
  for (let at = 0; at + ModInfo.size <= list.length; ) {
    const { ModuleSymStream, SymByteSize } = ModInfo.readAt(list, at)
    const name = cstring(list, at + ModInfo.size, 'the name of a module')
    const file = cstring(list, at + ModInfo.size + name.length + 1, 'the object file of a module')
    at += Math.ceil((ModInfo.size + name.length + file.length + 2) / 4) * 4
    const stream = ModuleSymStream === NO_STREAM_INDEX ? undefined : msf.stream(ModuleSymStream)
    const what = `the symbols of ${name}`
    const records =
      stream !== undefined && SymByteSize > MODULE_SIGNATURE_SIZE
        ? recordsOf(slice(stream, MODULE_SIGNATURE_SIZE, SymByteSize - MODULE_SIGNATURE_SIZE, what), what)
        : []
    const source = records.map(buildInfoIndex).findLast((index) => index !== undefined)
    modules.push({
      name: Buffer.from(name, 'latin1').toString('utf8'),
      file: Buffer.from(file, 'latin1').toString('utf8'),
      sourceFile: source === undefined ? undefined : sources.get(source),
      records,
      symbols: symbolsIn(records),
    })
  }
  return modules
}
