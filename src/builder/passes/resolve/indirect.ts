/** Indirect functions (STT_GNU_IFUNC): what their resolvers have chosen stands in slots of the base image. */
import type { Edge } from '../../graph.ts'
import type { Context } from './context.ts'
import { nowhere, type Outcome } from './target.ts'

/** An indirect function: through a slot in which the base image has what it has chosen. */
export function targetOfIfunc(edge: Edge, context: Context): Outcome {
  const { name } = edge.target
  const { base } = context.locator
  const named = context.locator.slots(name)
  const resolver = named.length > 0 ? undefined : resolverOf(edge, context)
  const slots = resolver === undefined ? named : base.importSlots.filter((slot) => slot.resolver === resolver)
  if (slots.length > 0) return { to: 'import', name, slots }
  return nowhere(
    'IFUNC',
    `it uses ${name}, which chooses its implementation when the program is loaded, and ${base.name} has no slot for it`,
  )
}

/** Where the base image has the resolver, in RVAs. */
function resolverOf({ target }: Edge, { locator, twins, graphBefore, visibleAfter, visibleIdentical }: Context): number | undefined {
  const [own] = visibleAfter.get(target.name) ?? []
  const block = target.block ?? own?.block
  const twin = block === undefined ? undefined : twins.after.get(block)
  const graph = twin === undefined ? undefined : graphBefore.get(twin)
  if (block !== undefined) {
    const finding = twin === undefined || graph === undefined ? undefined : locator.findAnyCopy(graph, twin)
    return finding?.found === true ? finding.rva + (target.block === undefined ? (own?.symbol.offset ?? 0) : target.offset) : undefined
  }
  const places = new Set(locator.visible(target.name).flatMap(({ kind, rva }) => (kind === 'ifunc' ? [rva] : [])))
  const [place, ...others] = places
  if (place !== undefined) return others.length === 0 ? place : undefined
  const elsewhere = visibleIdentical(target.name)
  const finding = elsewhere === undefined ? undefined : locator.findAnyCopy(elsewhere.graph, elsewhere.block)
  return elsewhere !== undefined && finding?.found === true ? finding.rva + elsewhere.symbol.offset : undefined
}
