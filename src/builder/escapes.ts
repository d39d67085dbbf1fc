/**
 * Whether the program can come to hold an address of the patch image: then its memory can only be given back when it is known that none
 * is held any more.
 *
 * A direct call or jump, and an instruction that reads or writes memory at a fixed place, use an address and keep none. `lea`, an
 * immediate and a pointer in data put one where it can be copied from. Relative jump tables give addresses that are jumped to at once.
 * Everything else counts as kept.
 */
import { architectureOf } from '../machine/architectures.ts'
import { isBranchKind } from '../machine/edges.ts'
import type { Block, Edge } from './graph.ts'
import type { PatchPlan } from './plan.ts'

/** Of which kinds of memory addresses can be kept. */
export interface Escapes {
  readonly code: boolean
  /** Writable. */
  readonly data: boolean
  readonly constants: boolean
}

export function escapesOf(plan: PatchPlan): Escapes {
  const kept = new Set<keyof Escapes>()
  for (const block of plan.blocks) {
    if (block.kind === 'unwind') continue
    for (const edge of block.edges) {
      const resolution = plan.resolutions.get(edge)
      // Thread-local variables lie in their threads.
      if (resolution?.to === 'patch' && resolution.block.kind !== 'tls' && !isUsedAtOnce(edge, block, resolution.block, plan))
        kept.add(kindOf(resolution.block))
    }
  }
  return { code: kept.has('code'), data: kept.has('data'), constants: kept.has('constants') }
}

const kindOf = ({ kind }: Block): keyof Escapes =>
  kind === 'code' ? 'code' : kind === 'rodata' || kind === 'unwind' ? 'constants' : 'data'

function isUsedAtOnce(edge: Edge, from: Block, to: Block, { base }: PatchPlan): boolean {
  if (from.kind === 'code')
    return isBranchKind(edge.kind) || architectureOf(base.machine).linking.isAccess(edge.kind, from.content, edge.offset)
  return from.kind === 'rodata' && edge.kind === 'pcrel32' && to.kind === 'code'
}
