/** What the builder keeps of a COFF object's sections, and as what. */
import { IMAGE_COMDAT_SELECT, IMAGE_SCN, IMAGE_SYM_CLASS } from '../../binary/coff/definitions.ts'
import type { CoffObject, CoffSection } from '../../binary/coff/reader.ts'
import { type CoffAux, type CoffSymbol, isFunctionSymbol } from '../../binary/coff/symbols.ts'
import type { BlockKind } from '../graph.ts'

/** A section that is kept. */
export interface KeptSection {
  readonly section: CoffSection
  /** The section's name, made unique in its object. */
  readonly label: string
  readonly kind: BlockKind
  /** Bytes that the compiler emitted: assemblers pad sections to their alignment, and say the length before that in the section's symbol. */
  readonly size: number
  /** Symbols with a name of their own, by ascending value. */
  readonly symbols: readonly CoffSymbol[]
  /** The name under which the linker keeps one of many. */
  readonly comdat: string | undefined
}

/** Debug information, linker directives and compilers' marks: nothing of them is in a linked program's code or data. */
const DROPPED =
  /^\.(debug|drectve|llvm\.|llvm_|addrsig|comment|gnu\.lto_|note\.)|^\.rdata\$zzz$|^\.(gfids|giats|gljmp|gehcont|sxdata|chks64)/

export function isDropped(section: CoffSection): boolean {
  return (section.characteristics & (IMAGE_SCN.LNK_REMOVE | IMAGE_SCN.LNK_INFO)) !== 0 || DROPPED.test(section.name)
}

function kindOf(section: CoffSection): BlockKind {
  const flags = section.characteristics
  if (/^\.[px]data(\W|$)/.test(section.name)) return 'unwind'
  if (/^\.tls(\W|$)/.test(section.name)) return 'tls'
  if ((flags & (IMAGE_SCN.CNT_CODE | IMAGE_SCN.MEM_EXECUTE)) !== 0) return 'code'
  if ((flags & IMAGE_SCN.CNT_UNINITIALIZED_DATA) !== 0) return 'bss'
  return (flags & IMAGE_SCN.MEM_WRITE) !== 0 ? 'data' : 'rodata'
}

type Definition = Extract<CoffAux, { kind: 'section' }>

/** The symbol that stands for a section as a whole: relocations of assemblers refer to it. */
export const isSectionSymbol = (symbol: CoffSymbol, section: CoffSection): boolean =>
  symbol.value === 0 &&
  !isFunctionSymbol(symbol) &&
  (symbol.storageClass === IMAGE_SYM_CLASS.SECTION ||
    (symbol.storageClass === IMAGE_SYM_CLASS.STATIC && (symbol.aux?.kind === 'section' || symbol.name === section.name)))

const NAMED: ReadonlySet<number> = new Set([
  IMAGE_SYM_CLASS.EXTERNAL,
  IMAGE_SYM_CLASS.STATIC,
  IMAGE_SYM_CLASS.LABEL,
  IMAGE_SYM_CLASS.WEAK_EXTERNAL,
])

export function keptSections(object: CoffObject): Map<number, KeptSection> {
  const bySection = new Map<number, CoffSymbol[]>()
  for (const symbol of object.symbols) {
    const list = bySection.get(symbol.sectionNumber)
    if (list === undefined) bySection.set(symbol.sectionNumber, [symbol])
    else list.push(symbol)
  }
  const times = new Map<string, number>()
  for (const section of object.sections) times.set(section.name, (times.get(section.name) ?? 0) + 1)
  const kept = new Map<number, KeptSection>()
  for (const section of object.sections) {
    if (isDropped(section)) continue
    const all = bySection.get(section.number) ?? []
    const own = all.find((symbol) => isSectionSymbol(symbol, section))?.aux
    const definition = own?.kind === 'section' ? own : undefined
    const symbols = all
      .filter((symbol) => NAMED.has(symbol.storageClass) && !isSectionSymbol(symbol, section) && symbol.value <= section.size)
      .sort((a, b) => a.value - b.value || a.index - b.index)
    const emitted = definition?.length ?? 0
    kept.set(section.number, {
      section,
      label: times.get(section.name) === 1 ? section.name : `${section.name}(${leaderOf(section, definition, bySection)})`,
      kind: kindOf(section),
      size: emitted > 0 && emitted < section.size ? emitted : section.size,
      symbols,
      comdat: comdatOf(section, definition?.selection, all),
    })
  }
  return kept
}

/** What tells sections of one name apart: the COMDAT that they go with, by name, else their number. */
function leaderOf(section: CoffSection, definition: Definition | undefined, symbols: ReadonlyMap<number, CoffSymbol[]>): string {
  const leader = definition?.selection === IMAGE_COMDAT_SELECT.ASSOCIATIVE ? symbols.get(definition.associated) : undefined
  return leader?.find((symbol) => symbol.aux?.kind !== 'section')?.name ?? `#${section.number}`
}

function comdatOf(section: CoffSection, selection: number | undefined, symbols: readonly CoffSymbol[]): string | undefined {
  if ((section.characteristics & IMAGE_SCN.LNK_COMDAT) === 0) return undefined
  // Clang gives -ffunction-sections' sections this form: there is only ever one of each.
  if (selection === IMAGE_COMDAT_SELECT.NODUPLICATES || selection === IMAGE_COMDAT_SELECT.ASSOCIATIVE) return undefined
  // The COMDAT's name is that of the second symbol that has the section's number (PE format, "COMDAT Sections").
  return symbols.find((symbol) => !isSectionSymbol(symbol, section))?.name
}
