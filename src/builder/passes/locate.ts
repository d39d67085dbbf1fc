/**
 * Where things of the build before lie in the base image. A place is given by the symbol table, by what functions that were found refer
 * to, or by the contents; and what has contents is held against the image's bytes before it is believed. Two places that
 * are equally good, or two sources that disagree, are a reason to refuse, never a choice.
 */
import { EDGE_KINDS, isBranchKind } from '../../machine/edges.ts'
import type { BaseImage, BaseSymbol, ImportSlot } from '../base-image.ts'
import type { Block, Edge, GraphSymbol, LinkGraph } from '../graph.ts'
import { fileName, unversioned } from '../names.ts'
import { entryOf, functionSize, isAnonymous, isThreadLocal, primarySymbol, referrersIn } from '../places.ts'
import type { ReasonCode } from '../reasons.ts'
import { prove } from './prove.ts'
import { importBehind, seenTarget } from './read-references.ts'

export type Finding =
  | { readonly found: true; readonly rva: number; readonly how: 'symbol' | 'content' | 'reference' }
  | { readonly found: false; readonly code: ReasonCode; readonly detail: string }

export interface Locator {
  readonly base: BaseImage
  /** Where a block of the build before begins in the base image. */
  find(graph: LinkGraph, block: Block): Finding
  /** As `find`, for blocks that the linker may have taken from another object: the bytes need not be those of this copy. */
  findAnyCopy(graph: LinkGraph, block: Block): Finding
  /** Symbols of the base image that other objects could see under this name; hidden ones are local by now. */
  visible(name: string): readonly BaseSymbol[]
  /** Symbols of functions that begin there in the base image. */
  functionsAt(rva: number): readonly BaseSymbol[]
  /** Import slots of the base image for this name. */
  slots(name: string): readonly ImportSlot[]
  /**
   * Where functions of these objects, as they lie in the base image, find what they know by this name only. What is called may be a stub
   * for it: good for calls (`calls`), not for its address.
   */
  seenAs(name: string, graphs: Iterable<LinkGraph>, calls: boolean): readonly number[]
  /** The resolvers of the indirect functions that they call by this name. */
  resolversSeen(name: string, graphs: Iterable<LinkGraph>): readonly number[]
  /** How well an object's functions agree with the base image. */
  agreement(graph: LinkGraph): { readonly same: number; readonly different: number }
}

export function locator(base: BaseImage): Locator {
  const symbols = new Map<string, BaseSymbol[]>()
  const functions = new Map<number, BaseSymbol[]>()
  for (const symbol of base.symbols) {
    append(symbols, unversioned(symbol.name), symbol)
    if (symbol.kind === 'function') append(functions, symbol.rva, symbol)
  }
  const slotsByName = new Map<string, ImportSlot[]>()
  for (const slot of base.importSlots) append(slotsByName, unversioned(slot.name), slot)

  const findings = new Map<Block, Finding>()
  const searching = new Set<Block>()
  const referrers = new Map<LinkGraph, Map<Block, Block[]>>()
  const agreements = new Map<LinkGraph, { same: number; different: number }>()

  const candidatesFor = (graph: LinkGraph, symbol: GraphSymbol, block: Block): BaseSymbol[] => {
    const named = (symbols.get(unversioned(symbol.name)) ?? []).filter((s) => couldBe(s, block))
    if (symbol.binding !== 'local') {
      const global = named.filter((s) => s.binding !== 'local')
      return global.length > 0 ? global : named
    }
    const local = named.filter((s) => s.binding === 'local')
    if (graph.sourceFile === undefined) return local
    const file = fileName(graph.sourceFile)
    const ofFile = local.filter((s) => s.file !== undefined && fileName(s.file) === file)
    return ofFile.length > 0 ? ofFile : local.filter((s) => s.file === undefined)
  }

  /** Where functions of the same object that were found say that it lies. */
  const seenFrom = (graph: LinkGraph, block: Block): Set<number> => {
    let ofGraph = referrers.get(graph)
    if (ofGraph === undefined) {
      ofGraph = referrersIn(graph.blocks.filter((b) => b.kind === 'code'))
      referrers.set(graph, ofGraph)
    }
    const places = new Set<number>()
    for (const user of ofGraph.get(block) ?? []) {
      if (user === block || searching.has(user)) continue
      const place = find(graph, user)
      if (!place.found) continue
      for (const edge of user.edges) {
        if (edge.target.block !== block) continue
        const seen = seenTarget(user, edge, base, place.rva)
        if (seen?.at !== 'rva' || importBehind(base, seen.rva + edge.target.offset) !== undefined) continue
        places.add(seen.rva - edge.target.offset)
      }
    }
    return places
  }

  const find = (graph: LinkGraph, block: Block): Finding => {
    const known = findings.get(block)
    if (known !== undefined) return known
    searching.add(block)
    const finding = search(graph, block)
    searching.delete(block)
    // What was found while something else was being searched for may lack that thing's word.
    if (searching.size === 0 || finding.found) findings.set(block, finding)
    return finding
  }

  const search = (graph: LinkGraph, block: Block): Finding => {
    const candidates = new Map<number, BaseSymbol>()
    for (const symbol of block.symbols) {
      if (symbol.kind === 'section' || symbol.name === '') continue
      for (const candidate of candidatesFor(graph, symbol, block)) candidates.set(candidate.rva - symbol.offset, candidate)
    }
    // A stub for another module's function has that one's name where linkers give it one (mingw's do).
    const imported =
      block.kind === 'code' ? [...candidates.keys()].filter((rva) => importBehind(base, rva + entryOf(block)) !== undefined) : []
    if (imported.length > 0 && imported.length === candidates.size)
      return { found: false, code: 'NOT_IN_BASE', detail: `${base.name} imports it` }
    for (const rva of imported) candidates.delete(rva)
    const proven = [...candidates.keys()].filter((rva) => prove(block, base, rva) === 'same')
    const [only] = proven
    if (only !== undefined && proven.length === 1) return { found: true, rva: only, how: 'symbol' }

    const seen = [...seenFrom(graph, block)].filter((rva) => prove(block, base, rva) === 'same')
    const [place] = seen
    if (place !== undefined && seen.length === 1 && (proven.length === 0 || proven.includes(place)))
      return { found: true, rva: place, how: 'reference' }
    if (proven.length > 1 || seen.length > 1) {
      const places = [...new Set([...proven, ...seen])].sort((a, b) => a - b).map(hex)
      return { found: false, code: 'SYMBOL_AMBIGUOUS', detail: `it may lie at ${places.join(' or ')} of ${base.name}` }
    }
    if (candidates.size > 0) {
      const places = [...candidates.keys()].map(hex).join(' and ')
      return { found: false, code: 'BASE_MISMATCH', detail: `${base.name} has other bytes at ${places} than ${graph.path}` }
    }
    const symbol = primarySymbol(block)
    if (base.lacks(symbol?.name ?? '', symbol?.binding === 'local'))
      return { found: false, code: 'NOT_IN_BASE', detail: `${base.name} has no symbol of this name` }
    return searchContents(block)
  }

  /** No symbols for it: the function is where its bytes are, if that is one place. */
  const searchContents = (block: Block): Finding => {
    const unnamed = base.symbolFile === undefined ? `${base.name} is stripped` : `${base.symbolFile} does not name it`
    const missing = (detail: string): Finding => ({ found: false, code: 'SYMBOL_MISSING', detail: `${unnamed}, and ${detail}` })
    if (block.kind !== 'code' || block.content === undefined) return missing('nothing that was found leads to it')
    const anchor = longestFixedRun(block)
    if (anchor.length < SHORTEST_ANCHOR) return missing('the function is too short to be told by its bytes')
    const places: number[] = []
    for (const section of base.sections) {
      if (section.kind !== 'code') continue
      const bytes = base.bytes(section.rva, section.size)
      if (bytes === undefined) continue
      const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      for (let at = text.indexOf(anchor.bytes); at >= 0; at = text.indexOf(anchor.bytes, at + 1)) {
        const rva = section.rva + at - anchor.offset
        if (prove(block, base, rva) === 'same') places.push(rva)
        if (places.length > 1)
          return { found: false, code: 'SYMBOL_AMBIGUOUS', detail: `${unnamed}, and its bytes are there more than once` }
      }
    }
    const [rva] = places
    return rva === undefined ? missing('its bytes are nowhere') : { found: true, rva, how: 'content' }
  }

  const placesSeen = (name: string, graphs: Iterable<LinkGraph>, calls: boolean): ReadonlySet<number> => {
    const places = new Set<number>()
    for (const graph of graphs) {
      if (!graph.symbols.some((s) => s.name === name && s.block === undefined)) continue
      for (const block of graph.blocks) {
        if (block.kind !== 'code') continue
        const uses = block.edges.filter((e) => e.target.name === name && tells(e) && (calls || !isBranchKind(e.kind)))
        const place = uses.length === 0 ? undefined : find(graph, block)
        if (place?.found !== true) continue
        for (const edge of uses) {
          const seen = seenTarget(block, edge, base, place.rva)
          if (seen?.at === 'rva') places.add(seen.rva)
        }
      }
    }
    return places
  }
  return {
    base,
    find,
    findAnyCopy(graph, block) {
      const finding = find(graph, block)
      if (finding.found || finding.code !== 'BASE_MISMATCH') return finding
      const symbol = primarySymbol(block)
      if (symbol === undefined || (block.comdat === undefined && symbol.binding !== 'weak')) return finding
      const [candidate, ...others] = candidatesFor(graph, symbol, block)
      return candidate !== undefined && others.length === 0 ? { found: true, rva: candidate.rva - symbol.offset, how: 'symbol' } : finding
    },
    visible(name) {
      const named = symbols.get(unversioned(name)) ?? []
      const global = named.filter((s) => s.binding !== 'local')
      return global.length > 0 ? global : named
    },
    functionsAt: (rva) => functions.get(rva) ?? [],
    slots: (name) => slotsByName.get(unversioned(name)) ?? [],
    seenAs: (name, graphs, calls) => [...placesSeen(name, graphs, calls)].filter((rva) => importBehind(base, rva) === undefined),
    resolversSeen: (name, graphs) => [...placesSeen(name, graphs, true)].flatMap((rva) => importBehind(base, rva)?.resolver ?? []),
    agreement(graph) {
      let known = agreements.get(graph)
      if (known === undefined) {
        known = { same: 0, different: 0 }
        for (const block of graph.blocks) {
          if (block.kind !== 'code' || block.comdat !== undefined || isAnonymous(block)) continue
          const finding = find(graph, block)
          if (finding.found) known.same += 1
          else if (finding.code === 'BASE_MISMATCH') known.different += 1
        }
        agreements.set(graph, known)
      }
      return known
    },
  }
}

const SHORTEST_ANCHOR = 12

/** Of thread-local data COFF's fields alone tell where they lead. */
const tells = (edge: Edge): boolean => !isThreadLocal(edge) || edge.kind === 'secrel32' || edge.kind === 'secrelhi12'

const append = <K, T>(map: Map<K, T[]>, key: K, value: T): void => {
  const known = map.get(key)
  if (known === undefined) map.set(key, [value])
  else known.push(value)
}

const hex = (rva: number): string => `0x${rva.toString(16)}`

/** Formats are vague about kinds (COFF has none for data), but a function is no variable. */
function couldBe(symbol: BaseSymbol, block: Block): boolean {
  if (block.kind === 'tls') return symbol.kind === 'tls' || symbol.kind === 'object' || symbol.kind === 'none'
  if (block.kind === 'code') return symbol.kind === 'function' || symbol.kind === 'none' || symbol.kind === 'ifunc'
  return symbol.kind === 'object' || symbol.kind === 'none'
}

/** The longest run of bytes of a function that no relocation touches. */
function longestFixedRun(block: Block): { offset: number; length: number; bytes: Uint8Array } {
  const content = block.content as Uint8Array
  const end = entryOf(block) + functionSize(block)
  let best = { offset: 0, length: 0 }
  let from = entryOf(block)
  for (const edge of [...block.edges, undefined]) {
    // Around these fields linkers may rewrite instructions: see prove.ts.
    const rewritten = edge !== undefined && (EDGE_KINDS[edge.kind].role === 'got' || isThreadLocal(edge))
    const to = edge === undefined ? end : Math.max(from, edge.offset - (rewritten ? 4 : 0))
    if (to - from > best.length) best = { offset: from, length: to - from }
    if (edge !== undefined) from = Math.max(from, edge.offset + (rewritten ? 12 : edge.size))
  }
  return { ...best, bytes: content.subarray(best.offset, best.offset + best.length) }
}
