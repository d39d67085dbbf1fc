/**
 * Whether two objects hold the same thing: one source compiled twice (for a library and for a part of it). Only one of them can be in an image,
 * and where they are the same it does not matter which.
 */
import type { Block, Edge } from '../graph.ts'
import { contentOf, isAnonymous } from '../places.ts'
import type { Twins } from '../program.ts'
import { sameBytes } from './compare.ts'

/** Down to everything that it refers to. New variables are never the same: who is given the one is not given the other. */
export function isCopy(a: Block, b: Block, twins: Twins, seen = new Map<Block, Block>()): boolean {
  if (a === b || seen.get(a) === b) return true
  if (seen.has(a) || a.kind !== b.kind || a.size !== b.size || a.alignment !== b.alignment) return false
  if (a.edges.length !== b.edges.length || a.companions.length !== b.companions.length || a.group !== b.group) return false
  const isNewState = [a, b].some((block) => isWritable(block) && !isAnonymous(block) && !twins.after.has(block))
  if (isNewState || !sameBytes(contentOf(a), contentOf(b))) return false
  seen.set(a, b)
  return (
    a.edges.every((edge, i) => leadsToCopy(edge, b.edges[i] as Edge, twins, seen)) &&
    a.companions.every((companion, i) => isCopy(companion, b.companions[i] as Block, twins, seen))
  )
}

const isWritable = ({ kind }: Block): boolean => kind === 'data' || kind === 'bss' || kind === 'tls'

function leadsToCopy(edge: Edge, other: Edge, twins: Twins, seen: Map<Block, Block>): boolean {
  const [to, there] = [edge.target, other.target]
  if (edge.offset !== other.offset || edge.kind !== other.kind || edge.addend !== other.addend) return false
  if (to.offset !== there.offset || to.absolute !== there.absolute || (to.block === undefined) !== (there.block === undefined)) return false
  if (to.block === undefined || there.block === undefined) return to.name === there.name
  const isNamed = !isAnonymous(to.block) || !isAnonymous(there.block)
  return (!isNamed || to.name === there.name) && isCopy(to.block, there.block, twins, seen)
}
