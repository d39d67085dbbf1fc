/** Which sections of an object become blocks, and of what kind. */
import { SHF, SHT } from '../../binary/elf/definitions.ts'
import { type ElfFile, type ElfSection, isAllocated } from '../../binary/elf/reader.ts'
import type { ElfSymbol } from '../../binary/elf/symbols.ts'
import type { BlockKind } from '../graph.ts'
import type { ElfMachine } from './machines.ts'

export interface KeptSection {
  readonly section: ElfSection
  readonly kind: BlockKind
  /** undefined: all zero. One buffer for the life of the graph: decodings are remembered by it. */
  readonly content: Uint8Array | undefined
  readonly comdat: string | undefined
  readonly merge: 'strings' | 'fixed' | undefined
  /** Symbols in the section but for its own, by ascending offset. */
  readonly symbols: ElfSymbol[]
  /** Offsets at which `-fpatchable-function-entry` put nops before a function, ascending. */
  readonly entryPads: number[]
}

/** Dropped without a word: they are about the program, not part of it. */
const DROPPED =
  /^(\.z?debug|\.comment|\.note|\.llvm|\.stab|\.gnu\.(build|warning|glibc-stub)|\.gdb|\.rela?\.|\.strtab|\.symtab|\.shstrtab|\.group|__patchable_function_entries)/

/** Constant after the loader's relocations: read-only data that needs a pointer. */
const RELOCATED_CONSTANTS = /^\.data\.rel\.ro(\.|$)/

const LINKERS_TABLES: ReadonlySet<number> = new Set([
  SHT.NULL,
  SHT.SYMTAB,
  SHT.STRTAB,
  SHT.RELA,
  SHT.REL,
  SHT.GROUP,
  SHT.SYMTAB_SHNDX,
  SHT.NOTE,
  SHT.LLVM_ADDRSIG,
])

function kindOf(section: ElfSection): BlockKind {
  if (section.name === '.eh_frame') return 'unwind'
  if (section.flags & SHF.EXECINSTR) return 'code'
  if (section.flags & SHF.TLS) return 'tls'
  if (section.type === SHT.NOBITS) return 'bss'
  return section.flags & SHF.WRITE && !RELOCATED_CONSTANTS.test(section.name) ? 'data' : 'rodata'
}

function mergeOf(section: ElfSection): KeptSection['merge'] {
  if (!(section.flags & SHF.MERGE) || section.entsize === 0 || section.flags & SHF.WRITE) return undefined
  if (section.flags & SHF.STRINGS) return 'strings'
  return section.size % section.entsize === 0 ? 'fixed' : undefined
}

/** By section index. What is left out and not known to be harmless is said in `notes`. */
export function keptSections(elf: ElfFile, notes: Set<string>): Map<number, KeptSection> {
  const comdats = new Map<number, string>()
  for (const group of elf.groups()) if (group.comdat) for (const member of group.members) comdats.set(member, group.signature)
  const kept = new Map<number, KeptSection>()
  for (const section of elf.sections) {
    if (LINKERS_TABLES.has(section.type) || DROPPED.test(section.name)) continue
    if (section.name.startsWith('.gnu.lto_')) {
      notes.add('compiled for link-time optimisation: what counts is decided by the linker; compile with -fno-lto')
      continue
    }
    if (!isAllocated(section)) {
      notes.add(`section ${section.name} is not loaded and was left out`)
      continue
    }
    kept.set(section.index, {
      section,
      kind: kindOf(section),
      content: section.data(),
      comdat: comdats.get(section.index),
      merge: mergeOf(section),
      symbols: [],
      entryPads: [],
    })
  }
  return kept
}

/** Fills `entryPads` from the relocations of the compilers' lists of patchable entries. */
export function findEntryPads(elf: ElfFile, kept: ReadonlyMap<number, KeptSection>, { address }: ElfMachine): void {
  const symbols = elf.symbols()
  for (const list of elf.sections) {
    if (list.name !== '__patchable_function_entries') continue
    for (const { type, symbol, addend } of elf.relocations(list.index)) {
      const target = symbols[symbol]
      if (type !== address || target?.place !== 'section') continue
      kept.get(target.section)?.entryPads.push(Number(target.value) + (addend ?? 0))
    }
  }
  for (const { entryPads } of kept.values()) entryPads.sort((a, b) => a - b)
}
