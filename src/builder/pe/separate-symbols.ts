/** Symbols of a PE image in another file: a PDB, an image with the symbol table (`objcopy --only-keep-debug`, an unstripped copy), a linker map. */
import { basename, dirname, join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type Rsds, symbolServerId } from '../../binary/codeview/rsds.ts'
import { isMsf } from '../../binary/pdb/msf.ts'
import { readPdb } from '../../binary/pdb/reader.ts'
import { hasImage } from '../../binary/pdb/type-server.ts'
import { readCodeView } from '../../binary/pe/directories.ts'
import { isPeImage, type PeImage, readImageSymbols, readPe } from '../../binary/pe/reader.ts'
import { cstring, viewOf } from '../../binary/struct.ts'
import { fittingMap, type PlacedSymbol } from '../linker-map.ts'
import { type NotItsOwn, type SeparateSymbols, type SymbolFile, type SymbolSource, tableSource } from '../symbol-source.ts'
import { sectionKind } from './base.ts'
import { symbolsOfPdb } from './pdb-symbols.ts'
import { type FoundSymbol, imageSymbols, isCodeAt, symbolsOfTable } from './symbols.ts'

/** Throws TRUNCATED, MALFORMED. */
export function peSymbolFiles(data: Uint8Array, path: string): SeparateSymbols {
  const image = readPe(data)
  const rsds = readCodeView(image)
  const link = debugLink(image)
  const pdb =
    rsds === undefined ? undefined : rsds.pdbPath.slice(Math.max(rsds.pdbPath.lastIndexOf('/'), rsds.pdbPath.lastIndexOf('\\')) + 1)
  const folder = dirname(path)
  return {
    names: [
      // As symbol servers lay them out, and flat.
      ...(pdb && rsds ? [`${pdb}/${symbolServerId(rsds)}/${pdb}`, pdb] : []),
      ...(link ? [link.name] : []),
      `${basename(path).replace(/\.[^.]*$/, '')}.pdb`,
    ],
    places: [...(pdb ? [join(folder, pdb)] : []), ...(link ? [join(folder, link.name), join(folder, '.debug', link.name)] : [])],
    embedded: () => undefined,
    read: (file) => {
      if (isMsf(file.data)) return fromPdb(file, image, rsds)
      return isPeImage(file.data) ? fromImage(file, image, link) : fromMap(file, image)
    },
  }
}

function fromPdb(file: SymbolFile, image: PeImage, rsds: Rsds | undefined): SymbolSource | NotItsOwn {
  if (rsds === undefined) return { why: 'the image names no PDB' }
  if (!hasImage(file.data)) return { why: 'it is the PDB of a compiler, with types only' }
  const pdb = readPdb(file.data)
  if (pdb.guid !== rsds.guid || pdb.age !== rsds.age)
    return { why: `it is the PDB ${pdb.guid} of age ${pdb.age}, the image's is ${rsds.guid} of age ${rsds.age}` }
  const symbols = imageSymbols(image, symbolsOfPdb(pdb, image))
  return { path: file.path, symbols, lacks: (name, isLocal) => !isLocal || PLAIN_NAME.test(name) }
}

/** PDBs name statics as the source does, which is the linker's name for those of C outside of functions only. */
const PLAIN_NAME = /^(?!_Z|_R)[A-Za-z_]\w*$/

/** `.gnu_debuglink` as in ELF: a name, zero-terminated and padded to 4, and the check sum of that file. */
function debugLink(image: PeImage): { readonly name: string; readonly crc: number } | undefined {
  const section = image.sections.find((s) => s.name === '.gnu_debuglink')
  if (section === undefined || section.size < 8) return undefined
  const data = image.read(section.rva, section.size)
  const name = cstring(data, 0, 'the name in .gnu_debuglink')
  const at = Math.ceil((name.length + 1) / 4) * 4
  return name === '' || name.includes('/') || at + 4 > data.length ? undefined : { name, crc: viewOf(data).getUint32(at, true) }
}

function fromImage(file: SymbolFile, image: PeImage, link: ReturnType<typeof debugLink>): SymbolSource | NotItsOwn {
  const other = readPe(file.data)
  const places = ({ sections }: PeImage): string =>
    sections
      .map((s) => `${s.rva}+${s.size}`)
      .slice(0, codeEnd(image))
      .join(' ')
  if (link === undefined ? other.fileHeader.TimeDateStamp !== image.fileHeader.TimeDateStamp : crc32(file.data) !== link.crc)
    return { why: link === undefined ? 'it has another time stamp' : 'its check sum is not the one in .gnu_debuglink' }
  if (places(other) !== places(image)) return { why: 'its sections lie elsewhere' }
  const table = readImageSymbols(other)
  if (table.length === 0) return { why: 'it has no symbol table' }
  return tableSource(imageSymbols(image, symbolsOfTable(image, table)), file.path)
}

/** Sections up to the last that a program uses: stripping takes away those of debug information, and one for the link may be new. */
const codeEnd = ({ sections }: PeImage): number => sections.findLastIndex((s) => sectionKind(s) !== 'other') + 1

function fromMap(file: SymbolFile, image: PeImage): SymbolSource | NotItsOwn {
  const map = fittingMap(file, {
    base: Number(image.optionalHeader.ImageBase),
    sections: image.sections.map((s) => ({ name: s.name, rva: s.rva, size: s.size, kind: sectionKind(s) })),
    timestamp: image.fileHeader.TimeDateStamp,
    rounding: image.optionalHeader.FileAlignment,
  })
  if (map === undefined) return { why: 'it is neither a PDB nor a PE image nor a linker map' }
  if ('why' in map) return map
  return {
    path: file.path,
    symbols: imageSymbols(
      image,
      map.symbols.map((s) => ofMap(s, image)),
    ),
    lacks: map.lacks,
  }
}

const ofMap = ({ name, rva, size, binding }: PlacedSymbol, image: PeImage): FoundSymbol => ({
  name,
  rva,
  size,
  kind: isCodeAt(image, rva) ? 'function' : 'object',
  binding,
  file: undefined,
  exported: false,
})
