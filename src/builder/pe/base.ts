/** A linked PE image as the builder sees it. */
import { basename } from 'node:path'
import { IMAGE_FILE, IMAGE_SCN } from '../../binary/coff/definitions.ts'
import { IMAGE_REL_BASED } from '../../binary/pe/definitions.ts'
import { type PeImport, readBaseRelocations, readImports } from '../../binary/pe/directories.ts'
import { readPeIdentity } from '../../binary/pe/identity.ts'
import { type PeImage, type PeSection, readPe, sectionAt } from '../../binary/pe/reader.ts'
import type { BaseImage, BaseSection, BaseSymbol, ImportSlot } from '../base-image.ts'
import { type SymbolSource, tableSource, withSource } from '../symbol-source.ts'
import { refuseHybrid } from './hybrid.ts'
import { coffMachine } from './machines.ts'
import { imageSymbols, symbolsOfTable } from './symbols.ts'
import { threadLocalData, withLoadersIndex } from './thread-local.ts'

/**
 * `separate`: symbols that another file has of this image, as peSymbolFiles reads them.
 * Throws FORMAT_UNKNOWN, MACHINE_UNSUPPORTED, TRUNCATED, MALFORMED.
 */
export function readPeBase(data: Uint8Array, path: string, separate?: SymbolSource): BaseImage {
  const image = readPe(data)
  const { architecture } = coffMachine(image.fileHeader.Machine, path)
  refuseHybrid(image, path)
  const source = separate ?? tableSource(imageSymbols(image, symbolsOfTable(image)))
  const relocated = new Set<number>()
  for (const { rva, type } of readBaseRelocations(image))
    if (type === IMAGE_REL_BASED.DIR64 || type === IMAGE_REL_BASED.HIGHLOW) relocated.add(rva)
  const imports = readImports(image)
  return {
    path,
    name: basename(path),
    format: 'pe',
    machine: architecture.machine,
    identity: readPeIdentity(image),
    preferredBase: image.optionalHeader.ImageBase,
    relocatable: (image.fileHeader.Characteristics & IMAGE_FILE.RELOCS_STRIPPED) === 0,
    imageSize: image.optionalHeader.SizeOfImage,
    sections: image.sections.map(toBaseSection),
    ...withSource({ ...source, symbols: withLoadersIndex(source.symbols, image) }),
    importSlots: importSlots(imports, source.symbols),
    isProgram: (image.fileHeader.Characteristics & IMAGE_FILE.DLL) === 0,
    threadLocal: threadLocalData(image),
    needed: [...new Set(imports.map(({ library }) => library))],
    searchPaths: [],
    bytes: (rva, length) => fileBacked(image, data, rva, length),
    isRelocated: (rva) => relocated.has(rva),
  }
}

function fileBacked(image: PeImage, data: Uint8Array, rva: number, length: number): Uint8Array | undefined {
  const section = sectionAt(image.sections, rva)
  if (section === undefined || length < 0 || rva + length > section.rva + Math.min(section.fileSize, section.size)) return undefined
  const at = section.fileOffset + (rva - section.rva)
  return at + length > data.length ? undefined : data.subarray(at, at + length)
}

/** Sections that only the loader and debuggers read. */
const TABLES = /^\.(pdata|xdata|edata|reloc|rsrc|debug|buildid|gfids|stab)/

const toBaseSection = (section: PeSection): BaseSection => ({
  name: section.name,
  rva: section.rva,
  size: section.size,
  kind: sectionKind(section),
})

export function sectionKind({ name, characteristics, fileSize }: PeSection): BaseSection['kind'] {
  if ((characteristics & IMAGE_SCN.MEM_EXECUTE) !== 0) return 'code'
  if (TABLES.test(name) || (characteristics & IMAGE_SCN.MEM_DISCARDABLE) !== 0) return 'other'
  if (name === '.tls') return 'tls'
  if ((characteristics & IMAGE_SCN.MEM_WRITE) === 0) return 'rodata'
  return fileSize === 0 ? 'bss' : 'data'
}

const IMP = '__imp_'

/**
 * One slot per import, and one more for every other name that the symbol table has for it: import libraries may call a function
 * otherwise than its DLL does, or know it by ordinal alone.
 */
function importSlots(imports: readonly PeImport[], symbols: readonly BaseSymbol[]): ImportSlot[] {
  const slots: ImportSlot[] = []
  const byRva = new Map<number, ImportSlot>()
  for (const each of imports) {
    const slot: ImportSlot = {
      name: each.name ?? `#${each.ordinal}`,
      library: each.library,
      rva: each.slotRva,
      // A delayed slot leads to a helper until the first call.
      binding: each.delayed ? 'lazy' : 'eager',
    }
    slots.push(slot)
    byRva.set(slot.rva, slot)
  }
  for (const symbol of symbols) {
    const slot = byRva.get(symbol.rva)
    if (slot === undefined || !symbol.name.startsWith(IMP)) continue
    const name = symbol.name.slice(IMP.length)
    if (name !== slot.name) slots.push({ ...slot, name })
  }
  return slots
}
