/** A reference as a patch image has it, or why it has none. */
import { EDGE_KINDS } from '../../../machine/edges.ts'
import type { Block, Edge } from '../../graph.ts'
import type { Resolution } from '../../plan.ts'
import type { ReasonCode } from '../../reasons.ts'
import type { Making } from './making.ts'

export type Expressed = { readonly edge: Edge; readonly resolution: Resolution | undefined }

export type Refused = { readonly code: ReasonCode; readonly detail: string }

export const unsupported = (edge: Edge): Refused => ({
  code: 'REFERENCE_UNSUPPORTED',
  detail: `its reference to ${edge.target.name} at offset ${edge.offset} is of kind ${edge.kind} (${EDGE_KINDS[edge.kind].what})`,
})

const BAKED = Symbol('baked')

type Baked = Edge & { [BAKED]?: true }

export const baked = (edge: Edge): Expressed => ({ edge: { ...edge, [BAKED]: true } as Baked, resolution: undefined })

export function withoutBaked(block: Block): Block {
  const kept = block.edges.filter((edge) => (edge as Baked)[BAKED] !== true)
  block.edges.splice(0, block.edges.length, ...kept)
  return block
}

export const isI32 = (value: number): boolean => value === (value | 0)

/** A field that holds the distance to a pointer now, which itself holds what was wanted. */
export function throughPointer(edge: Edge, resolution: () => Resolution, { linking }: Making): Expressed | Refused {
  const kind = linking.throughSlot(edge.kind)
  return kind === undefined ? unsupported(edge) : { edge: { ...edge, kind }, resolution: resolution() }
}
