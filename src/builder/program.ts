/** The two builds as the passes see them. */
import type { Block, GraphSymbol, LinkGraph } from './graph.ts'
import type { SourceDiff } from './source-diff.ts'
import type { SymbolFile } from './symbol-source.ts'

export interface Program {
  /** Objects that differ, sorted by path. One side is undefined where an object was added or removed. */
  readonly pairs: readonly ObjectPair[]
  /** Objects that make the same program on both sides: parsed only when something must be looked up in them. */
  readonly identical: readonly LazyGraph[]
  readonly notes: readonly string[]
  readonly objects: { readonly before: number; readonly after: number }
  /** undefined: the file has types of objects of the two builds. Else why it has none: a half-sentence. */
  refusalOfTypes(file: SymbolFile): string | undefined
  /** The fix as its author sees it, where it was given. */
  readonly sourceDiff?: SourceDiff
}

export interface ObjectPair {
  readonly path: string
  readonly before: LinkGraph | undefined
  readonly after: LinkGraph | undefined
}

export interface LazyGraph {
  readonly path: string
  /** Parses at the first call and remembers. */
  graph(): LinkGraph
  /** false: none of these names occurs in the object, which is known without parsing it. */
  mentions(names: readonly string[]): boolean
}

/** Objects that are the same on both sides and know at least one of these names. */
export function* mentioning(program: Program, names: readonly string[]): Generator<LinkGraph> {
  for (const lazy of program.identical) if (lazy.mentions(names)) yield lazy.graph()
}

/** Who is who in the two builds. Anonymous blocks are in neither map: they are compared by what they hold. */
export interface Twins {
  readonly before: ReadonlyMap<Block, Block>
  readonly after: ReadonlyMap<Block, Block>
  /** Blocks of either build that have more than one possible twin. */
  readonly ambiguous: ReadonlySet<Block>
}

export interface Definition {
  readonly graph: LinkGraph
  readonly block: Block
  readonly symbol: GraphSymbol
}

/** Definitions that other objects can see, by name. More than one where COMDAT, weak symbols or several programs are at work. */
export function definitionsIn(graphs: Iterable<LinkGraph>): Map<string, Definition[]> {
  const found = new Map<string, Definition[]>()
  for (const graph of graphs) {
    for (const symbol of graph.symbols) {
      if (symbol.block === undefined || symbol.binding === 'local' || symbol.kind === 'section') continue
      const entry = { graph, block: symbol.block, symbol }
      const known = found.get(symbol.name)
      if (known === undefined) found.set(symbol.name, [entry])
      else known.push(entry)
    }
  }
  return found
}

export const beforeGraphs = (program: Program): LinkGraph[] => program.pairs.flatMap((p) => (p.before === undefined ? [] : [p.before]))
export const afterGraphs = (program: Program): LinkGraph[] => program.pairs.flatMap((p) => (p.after === undefined ? [] : [p.after]))

/** The graph that each block belongs to. */
export function ownersOf(graphs: Iterable<LinkGraph>): Map<Block, LinkGraph> {
  const owners = new Map<Block, LinkGraph>()
  for (const graph of graphs) for (const block of graph.blocks) owners.set(block, graph)
  return owners
}
