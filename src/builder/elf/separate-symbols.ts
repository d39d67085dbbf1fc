/**
 * Symbols of an ELF image in another file: as distributions ship them (gdb's manual, "Debugging Information in Separate Files"), an
 * unstripped copy, or a linker map.
 */
import { basename, dirname, join } from 'node:path'
import { crc32 } from 'node:zlib'
import { imageFloor } from '../../binary/elf/memory.ts'
import { type ElfFile, isElf, readElf } from '../../binary/elf/reader.ts'
import { cstring, viewOf } from '../../binary/struct.ts'
import { readXz } from '../../binary/xz/reader.ts'
import type { BaseSymbol } from '../base-image.ts'
import { fittingMap, type PlacedSymbol } from '../linker-map.ts'
import { type NotItsOwn, type SeparateSymbols, type SymbolFile, type SymbolSource, tableSource } from '../symbol-source.ts'
import { baseSections } from './base.ts'
import { type ElfMachine, elfMachine } from './machines.ts'
import { imageSymbols } from './symbols.ts'

/** Throws TRUNCATED, MALFORMED. */
export function elfSymbolFiles(data: Uint8Array, path: string): SeparateSymbols {
  const elf = readElf(data)
  const floor = imageFloor(elf.segments)
  const link = debugLink(elf)
  const buildId = elf.buildId()
  const byId = buildId === undefined || buildId.length < 4 ? [] : [`.build-id/${buildId.slice(0, 2)}/${buildId.slice(2)}.debug`]
  const byLink = link === undefined ? [] : [link.name]
  const folder = dirname(path)
  const image = { elf, floor, machine: elfMachine(elf.machine, path) }
  return {
    names: [...byId, ...byLink, `${basename(path)}.debug`],
    places: [
      ...byId.map((name) => join(SYSTEM, name)),
      ...byLink.flatMap((name) => [join(folder, name), join(folder, '.debug', name), join(SYSTEM, folder, name)]),
    ],
    embedded: () => miniSymbols(image),
    read: (file) => read(file, image, link),
  }
}

interface Image {
  readonly elf: ElfFile
  readonly floor: bigint
  readonly machine: ElfMachine
}

const SYSTEM = '/usr/lib/debug'

/** Bytes that a compressed symbol table may come to: some hundred times those of the largest. */
const MOST_OF_MINI = 256 * 2 ** 20

/**
 * `.gnu_debugdata` (gdb's manual, "Debugging information in a special section"): an ELF file with the functions that the dynamic symbol table
 * lacks, compressed by xz. Variables are not in it, so of no name it is known that the image lacks it.
 */
function miniSymbols({ elf, floor, machine }: Image): SymbolSource | undefined {
  const data = elf.sections.find((s) => s.name === '.gnu_debugdata')?.data()
  if (data === undefined) return undefined
  const table = readElf(readXz(data, MOST_OF_MINI)).symbols()
  return { path: undefined, symbols: imageSymbols(elf, floor, machine, table), lacks: () => false }
}

interface DebugLink {
  /** Without folders. */
  readonly name: string
  /** Of the whole file, as zlib counts it. */
  readonly crc: number
}

/** The name, zero-terminated and padded to 4, and the check sum. */
function debugLink(elf: ElfFile): DebugLink | undefined {
  const data = elf.sections.find((s) => s.name === '.gnu_debuglink')?.data()
  if (data === undefined || data.length < 8) return undefined
  const name = basename(cstring(data, 0, 'the name in .gnu_debuglink'))
  const at = Math.ceil((name.length + 1) / 4) * 4
  return name === '' || at + 4 > data.length ? undefined : { name, crc: viewOf(data).getUint32(at, true) }
}

function read(file: SymbolFile, image: Image, link: DebugLink | undefined): SymbolSource | NotItsOwn {
  const { elf, floor, machine } = image
  if (!isElf(file.data)) return readMap(file, image)
  const other = readElf(file.data)
  if (other.machine !== elf.machine) return { why: 'it is for another processor' }
  const id = elf.buildId()
  const otherId = other.buildId()
  if (id !== undefined && otherId !== undefined) {
    if (id !== otherId) return { why: `its build id is ${otherId}, the image's ${id}` }
  } else if (link === undefined) return { why: 'the image has neither a build id nor a .gnu_debuglink that would tell' }
  else if (crc32(file.data) !== link.crc) return { why: 'its check sum is not the one in .gnu_debuglink' }
  const table = other.symbols()
  if (table.length === 0) return { why: 'it has no symbol table' }
  return tableSource(imageSymbols(elf, floor, machine, table), file.path)
}

function readMap(file: SymbolFile, { elf, floor, machine }: Image): SymbolSource | NotItsOwn {
  const map = fittingMap(file, { base: Number(floor), sections: baseSections(elf, floor), rounding: 1 })
  if (map === undefined) return { why: 'it is neither an ELF file nor a linker map' }
  if ('why' in map) return map
  const own = imageSymbols(elf, floor, machine)
  return { path: file.path, symbols: [...own, ...map.symbols.map(ofMap)], lacks: map.lacks }
}

const ofMap = ({ name, rva, size, binding }: PlacedSymbol): BaseSymbol => ({
  name,
  rva,
  size,
  kind: 'none',
  binding,
  file: undefined,
  exported: false,
})
