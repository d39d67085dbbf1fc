/** The link graph of a COFF object: the front end of the builder for PE. */
import { IMAGE_SYM, IMAGE_SYM_CLASS, sectionAlignment } from '../../binary/coff/definitions.ts'
import { type CoffObject, readCoffObject } from '../../binary/coff/reader.ts'
import { type CoffSymbol, isFunctionSymbol } from '../../binary/coff/symbols.ts'
import { HotpatchError } from '../../errors.ts'
import { clearField, EDGE_KINDS, type EdgeKind } from '../../machine/edges.ts'
import type { Block, GraphSymbol, LinkGraph } from '../graph.ts'
import type { BlockPlace } from '../source-lines.ts'
import { indexAtMost } from './ascending.ts'
import { coffLines } from './lines.ts'
import { type CoffMachine, coffMachine } from './machines.ts'
import { entriesOf, type Piece, piecesOf } from './pieces.ts'
import type { Reference } from './reference.ts'
import { effectiveOffset, referencesOf } from './references.ts'
import { isSectionSymbol, type KeptSection, keptSections } from './sections.ts'
import { coffTypes } from './types.ts'

/**
 * `path` is what the graph is called. A short import gives an empty graph.
 * Throws FORMAT_UNKNOWN, MACHINE_UNSUPPORTED, TRUNCATED, MALFORMED, CODE_UNDECODABLE.
 */
export function graphFromCoff(data: Uint8Array, path: string): LinkGraph {
  const object = readCoffObject(data)
  const machine = coffMachine(object.machine, path)
  const { machine: name } = machine.architecture
  const graph = { path, sourceFile: undefined, machine: name, format: 'coff', blocks: [], symbols: [], notes: [] } as const
  if (object.kind === 'import')
    return { ...graph, blocks: [], symbols: [], notes: [`an import of ${object.symbol} from ${object.library}`] }
  return new CoffGraph(object, path, machine).build()
}

interface RelocatedField {
  readonly offset: number
  readonly size: number
  readonly kind: EdgeKind
}

/** Blocks of one section with the offsets at which they begin. */
interface CutSection {
  readonly kept: KeptSection
  readonly starts: readonly number[]
  readonly blocks: readonly Block[]
}

class CoffGraph {
  readonly #object: CoffObject
  readonly #machine: CoffMachine
  readonly #path: string
  readonly #byIndex: ReadonlyMap<number, CoffSymbol>
  readonly #kept: ReadonlyMap<number, KeptSection>
  readonly #sections = new Map<number, CutSection>()
  readonly #commons: Block[] = []
  readonly #symbols = new Map<CoffSymbol, GraphSymbol>()
  /** Symbols made for places that have none, by block. */
  readonly #anonymous = new Map<Block, GraphSymbol>()
  readonly #entries = new Map<KeptSection, readonly number[]>()
  readonly #notes = new Set<string>()

  constructor(object: CoffObject, path: string, machine: CoffMachine) {
    this.#object = object
    this.#machine = machine
    this.#path = path
    this.#byIndex = new Map(object.symbols.map((symbol) => [symbol.index, symbol]))
    this.#kept = keptSections(object)
  }

  build(): LinkGraph {
    const references = [...this.#kept.values()].flatMap((kept) => referencesOf(kept, this.#byIndex, this.#machine))
    this.#cut(references)
    this.#defineSymbols()
    for (const reference of references) this.#connect(reference)
    this.#attachUnwind()
    const places = new Map<Block, BlockPlace>()
    for (const [section, { kept, starts, blocks }] of this.#sections)
      if (kept.kind === 'code') for (const [i, block] of blocks.entries()) places.set(block, { section, offset: starts[i] as number })
    const lines = coffLines(this.#object, places)
    return {
      path: this.#path,
      sourceFile: this.#sourceFile(),
      machine: this.#machine.architecture.machine,
      format: 'coff',
      // Of empty sections, which assemblers make in any case, only those that something refers to.
      blocks: [...[...this.#sections.values()].flatMap((cut) => cut.blocks), ...this.#commons].filter(
        (block) => block.size > 0 || block.symbols.length > 0,
      ),
      symbols: [...new Set([...this.#symbols.values(), ...this.#anonymous.values()])],
      notes: [...this.#notes],
      ...(lines && { lines }),
      types: coffTypes(this.#object),
    }
  }

  #sourceFile(): string | undefined {
    const aux = this.#object.symbols.find((symbol) => symbol.storageClass === IMAGE_SYM_CLASS.FILE)?.aux
    return aux?.kind === 'file' ? aux.name : undefined
  }

  /** The section that a reference goes through when its target is a section's symbol. */
  #throughSection(target: CoffSymbol): KeptSection | undefined {
    const kept = this.#kept.get(target.sectionNumber)
    return kept !== undefined && isSectionSymbol(target, kept.section) ? kept : undefined
  }

  #effective(reference: Reference, tableStart?: number): number | undefined {
    let entries = this.#entries.get(reference.from)
    if (entries === undefined) {
      entries = reference.from.kind === 'code' ? entriesOf(reference.from) : []
      this.#entries.set(reference.from, entries)
    }
    return effectiveOffset(reference, entries, this.#machine.architecture, tableStart)
  }

  #cut(references: readonly Reference[]): void {
    const relocated = new Map<KeptSection, RelocatedField[]>()
    const referenced = new Map<KeptSection, Set<number>>()
    for (const kept of this.#kept.values()) {
      relocated.set(kept, [])
      referenced.set(kept, new Set())
    }
    for (const reference of references) {
      const { kind, offset: at } = reference
      relocated.get(reference.from)?.push({ offset: at, size: EDGE_KINDS[kind].size, kind })
      const to = this.#throughSection(reference.target)
      if (to === undefined || (to.kind !== 'rodata' && to.kind !== 'unwind')) continue
      const offset = this.#effective(reference)
      if (offset !== undefined) referenced.get(to)?.add(offset)
    }
    for (const [number, kept] of this.#kept) {
      const fields = { relocated: relocated.get(kept) ?? [], referenced: referenced.get(kept) ?? new Set<number>() }
      this.#sections.set(number, this.#makeBlocks(kept, piecesOf(kept, fields, this.#machine.record), fields.relocated))
    }
  }

  #makeBlocks(kept: KeptSection, pieces: readonly Piece[], relocated: readonly RelocatedField[]): CutSection {
    const { section } = kept
    const alignment = sectionAlignment(section.characteristics)
    const content = section.content?.slice()
    if (content !== undefined) for (const { offset, kind } of relocated) clearField(content, offset, kind)
    const named = new Map<number, CoffSymbol>()
    for (const symbol of kept.symbols)
      if (symbol.storageClass !== IMAGE_SYM_CLASS.LABEL && !named.has(symbol.value)) named.set(symbol.value, symbol)
    const groupStarts = new Map<number, number>()
    const blocks = pieces.map((piece) => {
      const first = named.get(piece.start)
      const block = newBlock(
        first === undefined ? `${kept.label}+0x${piece.start.toString(16)}` : this.#nameOf(first),
        piece.end - piece.start,
        {
          kind: kept.kind,
          section: section.name,
          comdat: kept.comdat,
          alignment: alignmentAt(alignment, piece.start),
          content: content?.subarray(piece.start, piece.end),
          constant: piece.constant,
        },
      )
      if (piece.group === undefined) return block
      // A group begins anywhere; counted from a whole multiple of the section's alignment, its members keep theirs.
      const start = groupStarts.get(piece.group) ?? piece.start - (piece.start % alignment)
      groupStarts.set(piece.group, start)
      return { ...block, group: `${this.#path}:${section.name}#${section.number}.${piece.group}`, groupOffset: piece.start - start }
    })
    if (kept.kind === 'code' && blocks.length > 1) this.#notes.add('several functions share a section: compile with -ffunction-sections')
    return { kept, starts: pieces.map((piece) => piece.start), blocks }
  }

  /** The name under which other objects know a weak symbol's default; any other symbol's own. */
  #nameOf(symbol: CoffSymbol): string {
    return this.#weakOf().get(symbol)?.name ?? symbol.name
  }

  #weakNames: ReadonlyMap<CoffSymbol, CoffSymbol> | undefined

  /** Weak externals that this object defines itself, by their defaults (`.weak.f.default.g` for f). */
  #weakOf(): ReadonlyMap<CoffSymbol, CoffSymbol> {
    if (this.#weakNames === undefined) {
      const names = new Map<CoffSymbol, CoffSymbol>()
      for (const weak of this.#object.symbols) {
        if (weak.aux?.kind !== 'weak') continue
        const standIn = this.#byIndex.get(weak.aux.tagIndex)
        if (standIn !== undefined && standIn.sectionNumber > 0 && standIn.name.startsWith('.weak.')) names.set(standIn, weak)
      }
      this.#weakNames = names
    }
    return this.#weakNames
  }

  #defineSymbols(): void {
    for (const kept of this.#kept.values()) this.#defineIn(kept)
    for (const symbol of this.#object.symbols) {
      if (symbol.sectionNumber === IMAGE_SYM.UNDEFINED && symbol.aux?.kind !== 'weak') this.#declare(symbol)
      else if (symbol.sectionNumber === IMAGE_SYM.ABSOLUTE && symbol.storageClass === IMAGE_SYM_CLASS.EXTERNAL)
        this.#symbols.set(symbol, external(symbol.name, { absolute: BigInt(symbol.value) }))
    }
    // Last: their defaults are known by now.
    for (const symbol of this.#object.symbols) if (symbol.aux?.kind === 'weak') this.#defineWeak(symbol, symbol.aux.tagIndex)
  }

  #defineIn(kept: KeptSection): void {
    let next = kept.size
    // Backwards: a symbol reaches to the next one above it.
    for (let i = kept.symbols.length - 1, above = kept.size; i >= 0; i--) {
      const symbol = kept.symbols[i] as CoffSymbol
      const isLabel = symbol.storageClass === IMAGE_SYM_CLASS.LABEL
      if (!isLabel && symbol.value < above) {
        next = above
        above = symbol.value
      }
      const { block, start } = this.#blockAt(kept.section.number, symbol.value)
      const weak = this.#weakOf().get(symbol)
      const offset = symbol.value - start
      const defined: GraphSymbol = {
        name: weak?.name ?? symbol.name,
        block,
        offset,
        size: isLabel ? 0 : Math.max(0, Math.min(block.size, next - start) - offset),
        binding: weak !== undefined ? 'weak' : symbol.storageClass === IMAGE_SYM_CLASS.EXTERNAL ? 'global' : 'local',
        kind: kindOf(symbol, kept),
        hidden: false,
        absolute: undefined,
      }
      block.symbols.unshift(defined)
      this.#symbols.set(symbol, defined)
    }
  }

  /** An undefined symbol, or a common one: a variable that any number of objects may declare, `value` bytes of zeros. */
  #declare(symbol: CoffSymbol): void {
    if (symbol.storageClass !== IMAGE_SYM_CLASS.EXTERNAL) return
    if (symbol.value === 0) {
      this.#symbols.set(symbol, external(symbol.name, { kind: isFunctionSymbol(symbol) ? 'function' : 'none' }))
      return
    }
    const block = newBlock(symbol.name, symbol.value, {
      kind: 'bss',
      section: '.bss',
      alignment: Math.min(32, 2 ** Math.ceil(Math.log2(symbol.value))),
      comdat: symbol.name,
    })
    const common: GraphSymbol = { ...external(symbol.name, { kind: 'object' }), block, size: symbol.value }
    block.symbols.push(common)
    this.#commons.push(block)
    this.#symbols.set(symbol, common)
  }

  #defineWeak(weak: CoffSymbol, tagIndex: number): void {
    const standIn = this.#byIndex.get(tagIndex)
    if (standIn === undefined) throw new HotpatchError('MALFORMED', `the weak symbol ${weak.name} names symbol ${tagIndex}, there is none`)
    const known = this.#symbols.get(standIn)
    const own = this.#weakOf().get(standIn) === weak
    // A default that has a name of its own, or an absolute zero, may be overridden by another object: the name stays open.
    this.#symbols.set(
      weak,
      own && known !== undefined ? known : external(weak.name, { binding: 'weak', kind: isFunctionSymbol(weak) ? 'function' : 'none' }),
    )
  }

  /** The block that holds an offset of a section: the first for offsets below it, the last for those beyond. */
  #blockAt(sectionNumber: number, offset: number): { block: Block; start: number } {
    const { starts, blocks, kept } = this.#sections.get(sectionNumber) as CutSection
    const index = Math.max(0, indexAtMost(starts, offset))
    const block = blocks[index]
    if (block === undefined) throw new HotpatchError('MALFORMED', `section ${kept.section.name} has nothing at offset ${offset}`)
    return { block, start: starts[index] as number }
  }

  #connect(reference: Reference): void {
    const { from, offset, kind, target } = reference
    const { block, start } = this.#blockAt(from.section.number, offset)
    const { symbol, addend } = this.#resolve(reference, start)
    if (offset - start + EDGE_KINDS[kind].size > block.size)
      throw new HotpatchError(
        'MALFORMED',
        `the field at offset ${offset} of section ${from.section.name} crosses the start of symbol ${target.name}`,
      )
    block.edges.push({
      offset: offset - start,
      size: EDGE_KINDS[kind].size,
      kind,
      target: symbol,
      addend,
      origin: 'relocation',
      confidence: 1,
    })
  }

  /** Target and addend with section symbols replaced by the symbol of the block that is meant. */
  #resolve(reference: Reference, tableStart: number): { symbol: GraphSymbol; addend: number } {
    const { from, target, addend, offset } = reference
    const through = this.#throughSection(target)
    if (through === undefined) {
      const symbol = this.#symbols.get(target)
      if (symbol === undefined)
        throw new HotpatchError(
          'MALFORMED',
          `section ${from.section.name} refers to ${target.name === '' ? `symbol ${target.index}` : target.name}, which is in no section that is kept`,
        )
      return { symbol, addend }
    }
    const effective = this.#effective(reference, tableStart) ?? 0
    // The end of a function, in the second field of a .pdata record, is one past its last byte.
    const { record } = this.#machine
    const isEnd = from.kind === 'unwind' && from.section.name.startsWith('.pdata') && (offset - tableStart) % record.size === record.end
    const found = this.#blockAt(through.section.number, isEnd ? effective - 1 : effective)
    const symbol = this.#symbolFor(found.block, effective - found.start)
    return { symbol, addend: addend + target.value - (found.start + symbol.offset) }
  }

  /** The last named symbol of a block at or before `offset`, else one made for the block's start. */
  #symbolFor(block: Block, offset: number): GraphSymbol {
    const named = block.symbols.findLast((symbol) => symbol.offset <= offset && symbol.kind !== 'none') ?? block.symbols[0]
    if (named !== undefined) return named
    let symbol = this.#anonymous.get(block)
    if (symbol === undefined) {
      symbol = { ...external(block.name, { kind: 'section', binding: 'local' }), block, size: block.size }
      this.#anonymous.set(block, symbol)
      block.symbols.push(symbol)
    }
    return symbol
  }

  /** A function's .pdata records, and the .xdata that they refer to, travel with it. */
  #attachUnwind(): void {
    for (const { kept, blocks } of this.#sections.values()) {
      if (kept.kind !== 'unwind' || !kept.section.name.startsWith('.pdata')) continue
      for (const record of blocks) {
        const described = record.edges.find((edge) => edge.offset === 0)?.target.block
        const info = record.edges.find((edge) => edge.offset === this.#machine.record.info)?.target.block
        if (described?.kind !== 'code') continue
        for (const companion of [record, info])
          if (companion !== undefined && !described.companions.includes(companion)) described.companions.push(companion)
      }
    }
  }
}

function kindOf(symbol: CoffSymbol, kept: KeptSection): GraphSymbol['kind'] {
  if (symbol.storageClass === IMAGE_SYM_CLASS.LABEL) return 'none'
  if (isFunctionSymbol(symbol)) return 'function'
  switch (kept.kind) {
    case 'code':
      return symbol.storageClass === IMAGE_SYM_CLASS.EXTERNAL ? 'function' : 'none'
    case 'tls':
      return 'tls'
    default:
      return 'object'
  }
}

const external = (name: string, facts: Partial<GraphSymbol>): GraphSymbol => ({
  name,
  block: undefined,
  offset: 0,
  size: 0,
  binding: 'global',
  kind: 'none',
  hidden: false,
  absolute: undefined,
  ...facts,
})

/** The alignment that is sure at an offset of something aligned. */
const alignmentAt = (alignment: number, offset: number): number => (offset === 0 ? alignment : Math.min(alignment, offset & -offset))

function newBlock(name: string, size: number, facts: Partial<Block> & Pick<Block, 'kind' | 'section' | 'alignment'>): Block {
  const open = { content: undefined, constant: undefined, comdat: undefined, group: undefined, imageRva: undefined }
  return { ...open, name, size, edges: [], symbols: [], companions: [], ...facts }
}
