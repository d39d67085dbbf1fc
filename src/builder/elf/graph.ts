/** The link graph of an ELF object: the front end of the builder for ELF. */
import { ET, STB, STT, STV } from '../../binary/elf/definitions.ts'
import { type ElfFile, readElf } from '../../binary/elf/reader.ts'
import type { ElfSymbol } from '../../binary/elf/symbols.ts'
import { HotpatchError } from '../../errors.ts'
import { clearField, EDGE_KINDS } from '../../machine/edges.ts'
import type { Block, Edge, GraphSymbol, LinkGraph } from '../graph.ts'
import { type Crossing, crossingsOf } from './crossings.ts'
import { elfLines } from './lines.ts'
import { type ElfMachine, elfMachine } from './machines.ts'
import { type CutSection, isSingle, lowerBound, type Piece, piecesOf, type SectionUse } from './pieces.ts'
import { aimOf, type Reference, referencesOf } from './references.ts'
import { findEntryPads, type KeptSection, keptSections } from './sections.ts'
import { elfTypes } from './types.ts'
import { attachUnwind, unwindPieces } from './unwind.ts'

/**
 * `path` is what the graph is called.
 * Throws FORMAT_UNKNOWN (not ELF, or linked already), MACHINE_UNSUPPORTED, RELOCATION_UNSUPPORTED, TRUNCATED, MALFORMED.
 */
export function graphFromElf(data: Uint8Array, path: string): LinkGraph {
  const elf = readElf(data)
  if (elf.type !== ET.REL) throw new HotpatchError('FORMAT_UNKNOWN', `${path} is an ELF image, not an object file`)
  return new ElfGraph(elf, path).build()
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

class ElfGraph {
  readonly #elf: ElfFile
  readonly #machine: ElfMachine
  readonly #path: string
  readonly #notes = new Set<string>()
  readonly #kept: ReadonlyMap<number, KeptSection>
  readonly #references: ReadonlyMap<KeptSection, readonly Reference[]>
  readonly #cut = new Map<KeptSection, CutSection>()
  readonly #functionStarts = new Map<KeptSection, readonly number[]>()
  readonly #crossings = new Map<KeptSection, readonly Crossing[]>()
  readonly #common: Block[] = []
  readonly #symbols = new Map<ElfSymbol, GraphSymbol>()
  /** Symbols for blocks that have none of their own. */
  readonly #anonymous = new Map<Block, GraphSymbol>()

  constructor(elf: ElfFile, path: string) {
    this.#elf = elf
    this.#path = path
    this.#machine = elfMachine(elf.machine, path)
    const kept = keptSections(elf, this.#notes)
    for (const symbol of elf.symbols()) {
      if (symbol.place !== 'section' || symbol.type === STT.SECTION || symbol.type === STT.FILE) continue
      if (this.#machine.isMapping(symbol.name) || this.#machine.isAnchor(symbol.name)) continue
      const section = kept.get(symbol.section)
      if (!section) continue
      if (symbol.value > BigInt(section.section.size))
        throw new HotpatchError('MALFORMED', `symbol ${symbol.name} lies behind its section ${section.section.name}`)
      section.symbols.push(symbol)
    }
    for (const { symbols } of kept.values()) symbols.sort((a, b) => Number(a.value - b.value) || a.index - b.index)
    findEntryPads(elf, kept, this.#machine)
    this.#references = new Map([...kept.values()].map((section) => [section, referencesOf(elf, section, this.#machine)]))
    this.#kept = kept
    this.#dropEmpty(kept)
  }

  /** Compilers make empty sections by default; one counts only if something refers to it. */
  #dropEmpty(kept: Map<number, KeptSection>): void {
    const referenced = new Set<KeptSection | undefined>()
    for (const references of this.#references.values()) for (const reference of references) referenced.add(this.#throughSection(reference))
    for (const [index, section] of kept)
      if (section.section.size === 0 && section.symbols.length === 0 && !referenced.has(section)) kept.delete(index)
  }

  build(): LinkGraph {
    this.#cutSections()
    for (const symbol of this.#elf.symbols()) this.#define(symbol)
    for (const { blocks } of this.#cut.values()) for (const block of blocks) block.symbols.sort((a, b) => a.offset - b.offset)
    this.#connect()
    for (const cut of this.#cut.values()) if (cut.kept.kind === 'unwind') attachUnwind(cut, (block) => this.#anchor(block), this.#notes)
    const lines = elfLines(this.#elf, this.#cut.values())
    return {
      path: this.#path,
      sourceFile: this.#elf.symbols().find((s) => s.type === STT.FILE && s.name !== '')?.name,
      machine: this.#machine.architecture.machine,
      format: 'elf',
      blocks: [...[...this.#cut.values()].flatMap(({ blocks }) => blocks), ...this.#common],
      symbols: [...this.#symbols.values(), ...this.#anonymous.values()],
      notes: [...this.#notes],
      ...(lines && { lines }),
      types: elfTypes(this.#elf),
    }
  }

  /** The section that a reference goes through when its target is a section's symbol. */
  #throughSection({ target }: Reference): KeptSection | undefined {
    return target.type === STT.SECTION || this.#machine.isAnchor(target.name) ? this.#kept.get(target.section) : undefined
  }

  /** First and one past the last offset of the function that holds a field of code. */
  #functionAround(kept: KeptSection, offset: number): { start: number; end: number } {
    let starts = this.#functionStarts.get(kept)
    if (!starts) {
      starts = kept.symbols.filter((s) => s.type === STT.FUNC || s.type === STT.GNU_IFUNC).map((s) => Number(s.value))
      this.#functionStarts.set(kept, starts)
    }
    const next = lowerBound(starts, offset + 1)
    return { start: starts[next - 1] ?? 0, end: starts[next] ?? kept.section.size }
  }

  #aim(reference: Reference, tableStart: number): number | undefined {
    const { from, offset, kind } = reference
    const { start, end } = from.kind === 'code' && kind === 'pcrel32' ? this.#functionAround(from, offset) : { start: tableStart, end: 0 }
    return aimOf(reference, start, end, this.#machine.architecture.code)
  }

  #cutSections(): void {
    const aims = new Map<KeptSection, Set<number>>()
    const undivided = new Set<KeptSection>()
    const single = new Map<KeptSection, boolean>()
    const anonymous = new Map<KeptSection, boolean>()
    for (const kept of this.#kept.values()) {
      single.set(kept, isSingle(kept))
      anonymous.set(kept, !kept.merge && kept.symbols.every((s) => s.size === 0))
    }
    for (const references of this.#references.values()) {
      for (const reference of references) {
        const to = this.#throughSection(reference)
        if (!to || single.get(to)) continue
        const { from, kind } = reference
        const { pcRelative } = EDGE_KINDS[kind]
        // An entry of a table: it counts from the table's start, which is known only when this is done.
        if (pcRelative && from.kind !== 'code' && from.kind !== 'unwind') continue
        const isData = to.kind !== 'code' && to.merge === undefined
        if (from.kind === 'code' && isData && this.#machine.isVague(kind, anonymous.get(to) === true)) undivided.add(to)
        const aim = this.#aim(reference, 0)
        if (aim === undefined) undivided.add(to)
        else aims.get(to)?.add(aim) ?? aims.set(to, new Set([aim]))
      }
    }
    for (const kept of this.#kept.values()) {
      const references = this.#references.get(kept) ?? []
      const use: SectionUse = {
        relocated: references.map((r) => r.offset),
        aims: [...(aims.get(kept) ?? [])].sort((a, b) => a - b),
        undivided: undivided.has(kept),
      }
      this.#cut.set(kept, this.#makeBlocks(kept, this.#pieces(kept, use)))
    }
  }

  #pieces(kept: KeptSection, use: SectionUse): readonly Piece[] {
    if (kept.kind === 'unwind' && kept.content) return unwindPieces(kept.content)
    const { code } = this.#machine.architecture
    const pieces = piecesOf(kept, use, code)
    if (kept.kind !== 'code' || pieces.length < 2 || !kept.content) return pieces
    const crossings = crossingsOf(kept.content, pieces, use.relocated, code)
    if (!crossings) {
      this.#notes.add(`the functions of section ${kept.section.name} cannot be told apart: compile with -ffunction-sections`)
      return piecesOf(kept, { ...use, undivided: true }, code)
    }
    this.#crossings.set(kept, crossings)
    return pieces
  }

  #makeBlocks(kept: KeptSection, pieces: readonly Piece[]): CutSection {
    const { section, kind, comdat } = kept
    const content = kept.content?.slice()
    const fields = [...(this.#references.get(kept) ?? []), ...(this.#crossings.get(kept) ?? [])]
    if (content !== undefined) for (const { offset, kind: edge } of fields) clearField(content, offset, edge)
    let next = 0
    const blocks = pieces.map(({ start, end, constant }): Block => {
      while (next < kept.symbols.length && Number(kept.symbols[next]?.value) < start) next++
      return {
        name: nameOf(kept, next, start, end),
        kind,
        section: section.name,
        alignment: alignmentAt(section.align || 1, start),
        size: end - start,
        content: content?.subarray(start, end),
        edges: [],
        symbols: [],
        companions: [],
        constant,
        comdat,
        group: undefined,
        imageRva: undefined,
      }
    })
    return { kept, starts: pieces.map((p) => p.start), blocks }
  }

  /** The block that holds an offset; the one before it where padding was left out, the last one for the section's end. */
  #blockAt(kept: KeptSection, offset: number): { block: Block; start: number } {
    const { starts, blocks } = this.#cut.get(kept) as CutSection
    const index = Math.max(0, lowerBound(starts, offset + 1) - 1)
    const block = blocks[index]
    if (!block) throw new HotpatchError('MALFORMED', `section ${kept.section.name} has nothing at offset ${offset}`)
    return { block, start: starts[index] as number }
  }

  #define(symbol: ElfSymbol): void {
    if (symbol.index === 0 || symbol.type === STT.FILE || symbol.type === STT.SECTION) return
    if (this.#machine.isMapping(symbol.name) || this.#machine.isAnchor(symbol.name)) return
    const facts = graphSymbol(symbol)
    if (symbol.place === 'common') {
      facts.block = commonBlock(symbol)
      facts.kind = 'object'
      facts.block.symbols.push(facts)
      this.#common.push(facts.block)
    } else if (symbol.place === 'absolute') {
      facts.absolute = symbol.value
    } else if (symbol.place === 'section') {
      const kept = this.#kept.get(symbol.section)
      // Symbols of sections that were left out are still named by what may refer to them.
      if (kept && this.#cut.get(kept)?.blocks.length) {
        const { block, start } = this.#blockAt(kept, Number(symbol.value))
        facts.block = block
        facts.offset = Number(symbol.value) - start
        block.symbols.push(facts)
      }
    }
    this.#symbols.set(symbol, facts)
  }

  /** The symbol through which a place of a block is named: its own where that can mean nothing else, else one for its start. */
  #anchor(block: Block): GraphSymbol {
    const own = block.symbols.find((s) => s.kind !== 'none' && s.kind !== 'section' && (s.binding !== 'weak' || block.comdat !== undefined))
    if (own) return own
    let made = this.#anonymous.get(block)
    if (!made) {
      const { section: name, size } = block
      made = { name, block, offset: 0, size, binding: 'local', kind: 'section', hidden: false, absolute: undefined }
      this.#anonymous.set(block, made)
      block.symbols.unshift(made)
    }
    return made
  }

  #connect(): void {
    for (const [kept, references] of this.#references) {
      for (const reference of references) {
        const { offset, kind } = reference
        const { size } = EDGE_KINDS[kind]
        const { block, start } = this.#blockAt(kept, offset)
        if (offset - start + size > block.size)
          throw new HotpatchError(
            'MALFORMED',
            `the relocated field at offset ${offset} of section ${kept.section.name} lies across a symbol's end`,
          )
        block.edges.push({ offset: offset - start, size, kind, origin: 'relocation', ...this.#resolve(reference, start) })
      }
    }
    for (const [kept, crossings] of this.#crossings) {
      for (const { offset, kind, aim, origin } of crossings) {
        const from = this.#blockAt(kept, offset)
        const to = this.#blockAt(kept, aim)
        const target = this.#anchor(to.block)
        const addend = aim - to.start - target.offset - origin
        from.block.edges.push({
          offset: offset - from.start,
          size: EDGE_KINDS[kind].size,
          kind,
          target,
          addend,
          origin: 'decoded',
          confidence: 1,
        })
      }
      if (crossings.length > 0) for (const { edges } of this.#cut.get(kept)?.blocks ?? []) edges.sort((a, b) => a.offset - b.offset)
    }
  }

  /** Target and addend with section symbols replaced by a symbol of the block that is meant. */
  #resolve(reference: Reference, tableStart: number): Pick<Edge, 'target' | 'addend' | 'confidence'> {
    const { target, addend, from } = reference
    const through = this.#throughSection(reference)
    if (!through) {
      const symbol = this.#symbols.get(target)
      if (symbol) return { target: symbol, addend, confidence: 1 }
      throw new HotpatchError(
        'MALFORMED',
        `section ${from.section.name} refers to ${target.name || `symbol ${target.index}`}, which lies in no section that is kept`,
      )
    }
    const alone = (this.#cut.get(through)?.blocks.length ?? 0) === 1
    const aim = alone ? 0 : (this.#aim(reference, tableStart) ?? 0)
    const { block, start } = this.#blockAt(through, aim)
    const symbol = this.#anchor(block)
    // Among several variables, an aim inside one may have been computed from another (`a[i - 1]` as `a - 4 + 4 * i`).
    const certain = alone || through.kind === 'code' || through.merge !== undefined || aim === start || aim === start + symbol.offset
    return { target: symbol, addend: Number(target.value) + addend - start - symbol.offset, confidence: certain ? 1 : 0.9 }
  }
}

/** The alignment that is sure at an offset of something aligned. */
const alignmentAt = (alignment: number, offset: number): number =>
  offset === 0 ? alignment : Math.min(alignment, Number(BigInt(offset) & -BigInt(offset)))

/** @param first index of the first symbol at or behind the piece's start */
function nameOf({ section, symbols }: KeptSection, first: number, start: number, end: number): string {
  let label: string | undefined
  for (let i = first; i < symbols.length; i++) {
    const { name, type, value } = symbols[i] as ElfSymbol
    if (Number(value) >= end) break
    if (name === '' || name.startsWith('.L')) continue
    if (type !== STT.NOTYPE) return name
    label ??= name
  }
  return label ?? `${section.name}+0x${start.toString(16)}`
}

const KINDS: Readonly<Record<number, GraphSymbol['kind']>> = {
  [STT.FUNC]: 'function',
  [STT.OBJECT]: 'object',
  [STT.COMMON]: 'object',
  [STT.TLS]: 'tls',
  [STT.GNU_IFUNC]: 'ifunc',
}

function graphSymbol({ name, size, binding, type, visibility }: ElfSymbol): Mutable<GraphSymbol> {
  return {
    name,
    block: undefined,
    offset: 0,
    size,
    binding: binding === STB.LOCAL ? 'local' : binding === STB.WEAK ? 'weak' : 'global',
    kind: KINDS[type] ?? 'none',
    hidden: visibility === STV.HIDDEN || visibility === STV.INTERNAL,
    absolute: undefined,
  }
}

/** A variable that any number of objects may declare; the linker makes one of them. Its symbol's value is its alignment. */
function commonBlock({ name, size, value }: ElfSymbol): Block {
  const alignment = Math.max(1, Number(value))
  const open = { content: undefined, constant: undefined, group: undefined, imageRva: undefined }
  return { ...open, name, kind: 'bss', section: 'COMMON', alignment, size, edges: [], symbols: [], companions: [], comdat: name }
}
