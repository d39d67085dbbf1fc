/**
 * The back end for ELF: a plan becomes a shared object, whose imports are those of any other. A loader that knows nothing of hotpatch
 * can map it, debuggers can read it: what makes it a patch image is the `.hotpatch` table, found through a note.
 */
import { ehFrameHdrSize, encodeEhFrameHdr } from '../../binary/dwarf/eh-frame-hdr.ts'
import { DF, DT, Elf64_Dyn, Elf64_Rela, Elf64_Sym, EM, ET, NT_GNU, PF, PT, SHF, SHT, STB } from '../../binary/elf/definitions.ts'
import { encodeNote } from '../../binary/elf/notes.ts'
import {
  encodeDynamic,
  encodeGnuHash,
  encodeRela,
  encodeSymbols,
  gnuHashOrder,
  gnuHashSize,
  StringTableBuilder,
  symbolTableSize,
} from '../../binary/elf/tables.ts'
import { encodeVersionIndices, encodeVersionNeeds, versionNeedsSize } from '../../binary/elf/version-tables.ts'
import {
  layOut,
  type OutputHeader,
  type OutputImage,
  type OutputSection,
  type PlacedImage,
  type UnloadedSection,
  writeElf,
} from '../../binary/elf/writer.ts'
import { HotpatchError } from '../../errors.ts'
import { architectureOf } from '../../machine/architectures.ts'
import { HOTPATCH_NOTE, HotpatchNote, SECTIONS } from '../../patch/definitions.ts'
import { encodeHotPatchTable } from '../../patch/encode.ts'
import { encodeManifest } from '../../patch/manifest-codec.ts'
import { ImageSignature } from '../../patch/signature.ts'
import { fixUp } from '../fixups.ts'
import type { Block, Machine } from '../graph.ts'
import type { PatchPlan } from '../plan.ts'
import { manifestFor, tableFor } from '../tables.ts'
import { type EhFrameLayout, encodeEhFrame, fdeAddresses, layOutEhFrame } from './eh-frame.ts'
import { type Imports, importsOf, UNVERSIONED } from './imports.ts'
import { elfMachine } from './machines.ts'
import { type FilledSection, fillSections, OUTPUT_SECTIONS, type SectionName } from './output.ts'
import { exportedSymbols, type ImageSymbol, type SymbolPlaces, staticSymbols, toOutputSymbol } from './output-symbols.ts'

const MACHINES = { x64: EM.X86_64, arm64: EM.AARCH64 } as const

const emOf = (machine: Machine): number => MACHINES[machine]

/** What the image will hold, before it is known where. */
interface Parts {
  readonly plan: PatchPlan
  readonly filled: ReadonlyMap<SectionName, FilledSection>
  readonly unwind: EhFrameLayout | undefined
  readonly imports: Imports
  readonly exported: readonly ImageSymbol[]
  readonly names: StringTableBuilder
  readonly soname: number
  /** Relative relocations; those of imports and of thread-local variables follow them. */
  readonly relativeCount: number
  readonly distanceCount: number
  readonly tableSize: number
}

/**
 * The bytes of the patch image. Deterministic: equal plans give equal bytes.
 * Throws RELOCATION_UNSUPPORTED for what a shared object cannot say, DEFECT for a plan that contradicts itself.
 */
export function writeElfPatch(plan: PatchPlan): Uint8Array {
  const parts = gather(plan)
  const layout = layOut(imageOf(parts))
  const places = placesOf(parts, layout)
  return writeElf(layout, contentsOf(parts, layout, places), unloadedOf(parts, places))
}

function gather(given: PatchPlan): Parts {
  const unwind = layOutEhFrame(given)
  const plan = unwind ? { ...given, blocks: given.blocks.filter((block) => !unwind.merged.has(block)) } : given
  const exported = gnuHashOrder(exportedSymbols(plan))
  const imports = importsOf(plan)
  const names = new StringTableBuilder()
  const soname = names.add(`${plan.id}.so`)
  for (const { name } of [...imports.symbols, ...exported]) names.add(name)
  for (const library of imports.libraries) names.add(library)
  for (const { versions } of imports.versionNeeds) for (const { name } of versions) names.add(name)
  // Numbers and sizes do not depend on places: with everything at 0 they come out as they will be.
  const anywhere = (): number => 0
  const fixed = fixUp(plan, anywhere)
  return {
    plan,
    filled: new Map(fillSections(plan).map((section) => [section.name, section])),
    unwind,
    imports,
    exported,
    names,
    soname,
    relativeCount: fixed.relative.length,
    distanceCount: fixed.distances.length,
    tableSize: encodeHotPatchTable(tableFor(plan, anywhere)).length,
  }
}

const NOTE_ALIGN = 4
const SHA1_SIZE = 20
const BUILD_ID_NOTE = '.note.gnu.build-id'
const HOTPATCH_NOTE_SECTION = '.note.hotpatch'

const emptyBuildId = (): Uint8Array => encodeNote('GNU', NT_GNU.BUILD_ID, new Uint8Array(SHA1_SIZE))

const hotpatchNote = (TableRva: number, TableSize: number): Uint8Array =>
  encodeNote(HOTPATCH_NOTE.name, HOTPATCH_NOTE.type, HotpatchNote.encode({ TableRva, TableSize }))

const relocationCount = ({ relativeCount, distanceCount, imports }: Parts): number => relativeCount + imports.fields.length + distanceCount

const dynamicSize = (parts: Parts): number => encodeDynamic(dynamicEntries(parts, () => 0)).length

function dynamicEntries(parts: Parts, address: (section: string) => number): [tag: number, value: number][] {
  const { soname, names, relativeCount, imports } = parts
  const relocations = (): [number, number][] => [
    [DT.RELA, address('.rela.dyn')],
    [DT.RELASZ, relocationCount(parts) * Elf64_Rela.size],
    [DT.RELAENT, Elf64_Rela.size],
    [DT.RELACOUNT, relativeCount],
  ]
  const versions = (): [number, number][] => [
    [DT.VERNEED, address('.gnu.version_r')],
    [DT.VERNEEDNUM, imports.versionNeeds.length],
    [DT.VERSYM, address('.gnu.version')],
  ]
  return [
    ...imports.libraries.map((library): [number, number] => [DT.NEEDED, names.add(library)]),
    [DT.SONAME, soname],
    [DT.GNU_HASH, address('.gnu.hash')],
    [DT.STRTAB, address('.dynstr')],
    [DT.SYMTAB, address('.dynsym')],
    [DT.STRSZ, names.size],
    [DT.SYMENT, Elf64_Sym.size],
    ...(relocationCount(parts) > 0 ? relocations() : []),
    ...(parts.filled.has('.tdata') ? [[DT.FLAGS, DF.STATIC_TLS] as [number, number]] : []),
    ...(imports.versionNeeds.length > 0 ? versions() : []),
  ]
}

function imageOf(parts: Parts): OutputImage {
  const { exported, names, tableSize, unwind, imports } = parts
  const symbolCount = imports.symbols.length + exported.length
  const loaded = (name: string, type: number, align: number, size: number, more: Partial<OutputSection> = {}): OutputSection => ({
    name,
    type,
    flags: SHF.ALLOC,
    align,
    size,
    ...more,
  })
  const filled = (name: SectionName): OutputSection[] => {
    const section = parts.filled.get(name)
    const { type, flags } = OUTPUT_SECTIONS[name]
    return section ? [{ name, type, flags, align: section.align, size: section.size }] : []
  }
  const tables = [
    loaded(BUILD_ID_NOTE, SHT.NOTE, NOTE_ALIGN, emptyBuildId().length),
    loaded(HOTPATCH_NOTE_SECTION, SHT.NOTE, NOTE_ALIGN, hotpatchNote(0, 0).length),
    loaded('.gnu.hash', SHT.GNU_HASH, 8, gnuHashSize(exported.length), { link: '.dynsym' }),
    loaded('.dynsym', SHT.DYNSYM, 8, symbolTableSize(symbolCount), { link: '.dynstr', info: 1, entsize: Elf64_Sym.size }),
    loaded('.dynstr', SHT.STRTAB, 1, names.size),
  ]
  if (imports.versionNeeds.length > 0)
    tables.push(
      loaded('.gnu.version', SHT.GNU_VERSYM, 2, (symbolCount + 1) * 2, { link: '.dynsym', entsize: 2 }),
      loaded('.gnu.version_r', SHT.GNU_VERNEED, 8, versionNeedsSize(imports.versionNeeds), {
        link: '.dynstr',
        info: imports.versionNeeds.length,
      }),
    )
  if (relocationCount(parts) > 0)
    tables.push(loaded('.rela.dyn', SHT.RELA, 8, relocationCount(parts) * Elf64_Rela.size, { link: '.dynsym', entsize: Elf64_Rela.size }))
  tables.push(loaded(SECTIONS.elf.table, SHT.PROGBITS, 8, tableSize))
  const frames = unwind
    ? [loaded('.eh_frame_hdr', SHT.PROGBITS, 4, ehFrameHdrSize(unwind.fdes.length)), loaded('.eh_frame', SHT.PROGBITS, 8, unwind.size)]
    : []
  const dynamic = loaded('.dynamic', SHT.DYNAMIC, 8, dynamicSize(parts), {
    flags: SHF.ALLOC | SHF.WRITE,
    link: '.dynstr',
    entsize: Elf64_Dyn.size,
  })
  return {
    type: ET.DYN,
    machine: emOf(parts.plan.base.machine),
    segments: [
      { flags: PF.R, sections: [...tables, ...filled('.rodata'), ...filled('.gcc_except_table'), ...frames] },
      { flags: PF.R | PF.X, sections: filled('.text') },
      // glibc writes addresses into .dynamic before it protects it.
      { flags: PF.R | PF.W, sections: [...filled('.tdata'), ...filled('.data.rel.ro'), dynamic], relro: true },
      { flags: PF.R | PF.W, sections: [...filled('.data'), ...filled('.bss')] },
    ],
    headers: headersOf(unwind !== undefined, parts.filled.get('.tdata')),
    buildId: BUILD_ID_NOTE,
  }
}

function headersOf(hasUnwind: boolean, threadLocal: FilledSection | undefined): OutputHeader[] {
  const frames: OutputHeader = { type: PT.GNU_EH_FRAME, flags: PF.R, align: 4, sections: ['.eh_frame_hdr', '.eh_frame_hdr'] }
  return [
    { type: PT.DYNAMIC, flags: PF.R | PF.W, align: 8, sections: ['.dynamic', '.dynamic'] },
    { type: PT.NOTE, flags: PF.R, align: NOTE_ALIGN, sections: [BUILD_ID_NOTE, HOTPATCH_NOTE_SECTION] },
    ...(hasUnwind ? [frames] : []),
    ...(threadLocal === undefined
      ? []
      : [{ type: PT.TLS, flags: PF.R, align: threadLocal.align, sections: ['.tdata', '.tdata'] } as const]),
    { type: PT.GNU_STACK, flags: PF.R | PF.W, align: 16 },
  ]
}

interface Places extends SymbolPlaces {
  rva(block: Block): number
}

function placesOf({ filled, unwind }: Parts, layout: PlacedImage): Places {
  const places = new Map<Block, { section: string; offset: number }>()
  for (const { name, offsets } of filled.values()) for (const [block, offset] of offsets) places.set(block, { section: name, offset })
  for (const [block, offset] of unwind?.offsets ?? []) places.set(block, { section: '.eh_frame', offset })
  const find = (block: Block): { section: string; offset: number } => {
    const place = places.get(block)
    if (!place) throw new HotpatchError('DEFECT', `${block.name} has no place in the patch image`)
    return place
  }
  return {
    rva: (block) => layout.address(find(block).section) + find(block).offset,
    section: (block) => layout.index(find(block).section),
    value: (block) => (block.kind === 'tls' ? 0 : layout.address(find(block).section)) + find(block).offset,
  }
}

const byOffset = (a: { readonly offset: number }, b: { readonly offset: number }): number => a.offset - b.offset

function contentsOf(parts: Parts, layout: PlacedImage, places: Places): Map<string, Uint8Array> {
  const { plan, filled, unwind, imports, exported, names, tableSize } = parts
  const { rva } = places
  const { contents: fixed, relative, distances } = fixUp(plan, rva)
  const table = encodeHotPatchTable(tableFor(plan, rva))
  const contents = new Map<string, Uint8Array>([
    [BUILD_ID_NOTE, emptyBuildId()],
    [HOTPATCH_NOTE_SECTION, hotpatchNote(layout.address(SECTIONS.elf.table), tableSize)],
    ['.gnu.hash', encodeGnuHash(exported, 1 + imports.symbols.length)],
    ['.dynsym', encodeSymbols([...imports.symbols, ...exported.map((s) => toOutputSymbol(s, places))], names)],
    ['.dynstr', names.encode()],
    [SECTIONS.elf.table, table],
    ['.dynamic', encodeDynamic(dynamicEntries(parts, layout.address))],
  ])
  if (imports.versionNeeds.length > 0) {
    contents.set('.gnu.version', encodeVersionIndices([...imports.versionIndices, ...exported.map(() => UNVERSIONED)]))
    contents.set('.gnu.version_r', encodeVersionNeeds(imports.versionNeeds, names))
  }
  if (relocationCount(parts) > 0) {
    const types = elfMachine(emOf(plan.base.machine), plan.base.name)
    const fields = relative.map(({ block, offset, addend }) => ({
      offset: rva(block) + offset,
      type: types.relative,
      symbol: 0,
      addend,
    }))
    const imported = imports.fields.map(({ block, offset, symbol }) => ({
      offset: rva(block) + offset,
      type: types.address,
      symbol: 1 + symbol,
      addend: 0,
    }))
    // Of no symbol: the addend counts in the image's own block.
    const ofThreads = distances.map(({ block, offset, addend }) => ({
      offset: rva(block) + offset,
      type: types.threadLocal.distance,
      symbol: 0,
      addend: addend - layout.address('.tdata'),
    }))
    contents.set('.rela.dyn', encodeRela([...fields.sort(byOffset), ...imported.sort(byOffset), ...ofThreads.sort(byOffset)]))
  }
  for (const { name, size, offsets } of filled.values()) {
    if (OUTPUT_SECTIONS[name].type === SHT.NOBITS) continue
    const data = new Uint8Array(size).fill(OUTPUT_SECTIONS[name].fill ?? architectureOf(plan.base.machine).linking.fill)
    for (const [block, offset] of offsets) data.set(fixed.get(block) ?? new Uint8Array(block.size), offset)
    contents.set(name, data)
  }
  if (unwind) {
    const header = layout.address('.eh_frame_hdr')
    const frame = layout.address('.eh_frame')
    contents.set('.eh_frame', encodeEhFrame(unwind, fixed))
    contents.set('.eh_frame_hdr', encodeEhFrameHdr(header, frame, fdeAddresses(unwind, plan, frame, rva)))
  }
  return contents
}

/** What the loader does not map: the manifest, room for a signature, and names for debuggers and profilers. */
function unloadedOf({ plan }: Parts, places: Places): UnloadedSection[] {
  const symbols = staticSymbols(plan)
  const names = new StringTableBuilder()
  const table = encodeSymbols(
    symbols.map((s) => toOutputSymbol(s, places)),
    names,
  )
  const info = 1 + symbols.filter((s) => s.binding === STB.LOCAL).length
  const plain = { flags: 0, align: 1 }
  return [
    { ...plain, name: SECTIONS.elf.manifest, type: SHT.PROGBITS, content: encodeManifest(manifestFor(plan, places.rva)) },
    { ...plain, name: SECTIONS.elf.signature, type: SHT.PROGBITS, content: new Uint8Array(ImageSignature.size) },
    { ...plain, name: '.symtab', type: SHT.SYMTAB, align: 8, content: table, link: '.strtab', info, entsize: Elf64_Sym.size },
    { ...plain, name: '.strtab', type: SHT.STRTAB, content: names.encode() },
  ]
}
