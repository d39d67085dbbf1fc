/**
 * Synthesis: the blocks that travel, copied, with each reference turned into one that a patch image can express.
 *
 * Pointers that the loader filled in for the base image are used where they lie; what needs a pointer of its own gets 8 bytes of read-only
 * data, what needs a place to jump to gets a stub. What the base image does not import, the patch image does: a pointer that the engine fills.
 */
import { architectureOf } from '../../machine/architectures.ts'
import type { BaseImage, ImportSlot } from '../base-image.ts'
import type { Block, Edge } from '../graph.ts'
import type { Libraries } from '../libraries.ts'
import { primarySymbol } from '../places.ts'
import type { Resolution } from '../plan.ts'
import { type Reason, reason } from '../reasons.ts'
import type { Resolved } from './resolve.ts'
import { copyBlocks, moveEdge, type Place } from './synthesize/copies.ts'
import { express } from './synthesize/express.ts'
import { withoutBaked } from './synthesize/expressed.ts'
import type { Making } from './synthesize/making.ts'

export interface Synthesized {
  /** What goes into the patch image, in order. */
  readonly blocks: readonly Block[]
  readonly resolutions: ReadonlyMap<Edge, Resolution>
  /** Where each block of the build after is now: pieces that keep their distance have become one block. */
  readonly places: ReadonlyMap<Block, Place>
  readonly imports: readonly ImportSlot[]
  readonly reasons: readonly Reason[]
}

export function synthesize(resolved: Resolved, base: BaseImage, libraries: Libraries): Synthesized {
  const { blocks, places } = copyBlocks(resolved)
  const making: Making = {
    base,
    linking: architectureOf(base.machine).linking,
    libraries,
    places,
    resolutions: new Map(),
    pointers: new Map(),
    stubs: new Map(),
    indexes: new Map(),
    made: [],
    imports: new Map(),
    numbers: new Map(),
  }
  const reasons: Reason[] = []
  for (const original of resolved.blocks) {
    const place = places.get(original) as Place
    for (const edge of original.edges) {
      const moved = moveEdge(edge, place, places)
      place.block.edges.push(moved)
      const target = resolved.targets.get(edge)
      // An FDE's distance to its CIE is the back end's to write; what has no target has a reason to refuse already.
      if (target === undefined) continue
      const outcome = express(moved, target, place.block, making)
      if ('code' in outcome) {
        const name = primarySymbol(original)?.name ?? original.name
        reasons.push(reason(outcome.code, name, resolved.graphOf.get(original)?.path ?? '', outcome.detail))
      } else {
        place.block.edges[place.block.edges.length - 1] = outcome.edge
        if (outcome.resolution !== undefined) making.resolutions.set(outcome.edge, outcome.resolution)
      }
    }
  }
  for (const block of blocks) block.edges.sort((a, b) => a.offset - b.offset)
  return {
    // What was baked into its field refers to nothing any more.
    blocks: [...blocks.map((block) => withoutBaked(block)), ...making.made],
    resolutions: making.resolutions,
    places,
    imports: [...making.imports.values()].sort((a, b) => a.rva - b.rva),
    reasons,
  }
}
