/**
 * Other base images of the same update. An object is in an image where functions of it stand there; what went into another image alone is
 * that one's to patch, and what lies there is reached as any other module is.
 */
import type { BaseImage } from '../base-image.ts'
import type { Block, LinkGraph } from '../graph.ts'
import type { Locator } from './locate.ts'

export interface Neighbours {
  /** Another image that this object of the build before went into, where it is proven that it did, and none of its functions stands in this one. */
  holderOf(graph: LinkGraph): BaseImage | undefined
  /** Another image in which this very block stands. */
  keeperOf(graph: LinkGraph, block: Block): BaseImage | undefined
}

export const NO_NEIGHBOURS: Neighbours = { holderOf: () => undefined, keeperOf: () => undefined }

export function neighboursOf(places: Locator, others: readonly Locator[]): Neighbours {
  const holders = new Map<LinkGraph, BaseImage | undefined>()
  const isIn = (locator: Locator, graph: LinkGraph): boolean => graph.machine === locator.base.machine && locator.agreement(graph).same > 0
  return {
    holderOf(graph) {
      if (!holders.has(graph)) holders.set(graph, isIn(places, graph) ? undefined : others.find((other) => isIn(other, graph))?.base)
      return holders.get(graph)
    },
    keeperOf: (graph, block) => others.find((other) => other.find(graph, block).found)?.base,
  }
}
