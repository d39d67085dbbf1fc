/** What the search for a reference's target looks things up in. */
import type { Block, LinkGraph } from '../../graph.ts'
import type { Libraries } from '../../libraries.ts'
import { isAnonymous, parentName } from '../../places.ts'
import type { Definition, Program, Twins } from '../../program.ts'
import type { ChosenFunction } from '../choose.ts'
import type { Classified } from '../classify.ts'
import { isCopy } from '../copies.ts'
import type { Locator } from '../locate.ts'
import type { Neighbours } from '../neighbours.ts'

export interface Context {
  readonly program: Program
  readonly twins: Twins
  readonly classified: Classified
  readonly locator: Locator
  readonly libraries: Libraries
  readonly neighbours: Neighbours
  /** Changed functions by their block of the build after. */
  readonly chosen: ReadonlyMap<Block, ChosenFunction>
  readonly graphOf: Map<Block, LinkGraph>
  readonly graphBefore: Map<Block, LinkGraph>
  readonly visibleAfter: ReadonlyMap<string, Definition[]>
  /** What an object that did not change defines under a name. */
  visibleIdentical(name: string): Definition | undefined
}

export const isOneOfMany = (block: Block, binding: 'local' | 'global' | 'weak'): boolean =>
  binding !== 'local' && (block.comdat !== undefined || binding === 'weak') && !isAnonymous(block)

/** What a changed object defines under a name: of several copies the one that is patched, else that of an object in the base image. */
export function definitionOf(
  name: string,
  { visibleAfter, chosen, locator, twins, graphBefore, program }: Context,
): Definition | 'ambiguous' | undefined {
  const found = visibleAfter.get(name) ?? []
  const patched = found.find((d) => chosen.has(d.block))
  if (patched !== undefined || found.length <= 1) return patched ?? found[0]
  const known = found.find((d) => {
    const twin = twins.after.get(d.block)
    const graph = twin === undefined ? undefined : graphBefore.get(twin)
    return twin !== undefined && graph !== undefined && locator.findAnyCopy(graph, twin).found
  })
  if (known !== undefined) return known
  const ofBase = found.filter((d) => {
    const before = program.pairs.find((p) => p.after === d.graph)?.before
    return before === undefined || locator.agreement(before).different === 0
  })
  const strong = ofBase.filter((d) => d.symbol.binding !== 'weak' && d.block.comdat === undefined)
  const [first, ...others] = strong
  if (first === undefined) return ofBase[0] ?? found[0]
  if (!others.every((other) => isCopy(first.block, other.block, twins))) return 'ambiguous'
  const patchedObjects = new Set([...chosen.values()].map(({ graphAfter }) => graphAfter))
  return strong.find((d) => patchedObjects.has(d.graph)) ?? first
}

/** The function that a block is or is the cold part of. */
export function unitOf(block: Block, { graphOf }: Context): Block {
  const parent = parentName(block)
  if (parent === undefined) return block
  return graphOf.get(block)?.symbols.find((s) => s.name === parent && s.block?.kind === 'code')?.block ?? block
}
