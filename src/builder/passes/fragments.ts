/** The parts of an old function that its compiler has put elsewhere (f.cold): whoever is in one is in the function. */
import type { Block, LinkGraph } from '../graph.ts'
import { entryOf, functionSize, parentName } from '../places.ts'
import { type Reason, reason } from '../reasons.ts'
import type { Locator } from './locate.ts'

/** In the base image. */
export interface Fragment {
  readonly rva: number
  readonly size: number
}

/** Where the fragments of the function `block` lie, by ascending RVA; or why one of them is not known. */
export function fragmentsOf(graph: LinkGraph, block: Block, locator: Locator): Fragment[] | Reason {
  const names = new Set(block.symbols.map((symbol) => symbol.name))
  const fragments: Fragment[] = []
  for (const part of graph.blocks) {
    const parent = parentName(part)
    if (parent === undefined || !names.has(parent) || part === block) continue
    const finding = locator.find(graph, part)
    if (!finding.found) return reason(finding.code, part.name, graph.path, finding.detail)
    fragments.push({ rva: finding.rva + entryOf(part), size: functionSize(part) })
  }
  return fragments.sort((a, b) => a.rva - b.rva)
}
