/** References to thread-local data: code is rewritten where the patch knows more than the compiler did. */
import type { SlotAccess } from '../../../machine/architecture.ts'
import { biasOf } from '../../../machine/edges.ts'
import type { Block, Edge } from '../../graph.ts'
import { OWN_THREAD_RECORDS } from '../../own-records.ts'
import type { Resolution } from '../../plan.ts'
import type { Target } from '../resolve/target.ts'
import type { Reach } from '../thread-local.ts'
import { baked, type Expressed, isI32, type Refused, unsupported } from './expressed.ts'
import { distanceOf, type Making, moduleIndexOf, pairOf, pointerTo } from './making.ts'

export function toThreadLocal(edge: Edge, reach: Reach, { content }: Block, making: Making): Expressed | Refused {
  const { threadLocal } = making.linking
  if (content === undefined) return unsupported(edge)
  const { kind, offset: field } = edge
  switch (reach.by) {
    case 'offset':
      return isI32(reach.offset) && threadLocal.toLocalExec(kind, content, field, reach.offset) ? baked(edge) : unsupported(edge)
    case 'distance': {
      const { distance } = reach
      if (isI32(distance) && threadLocal.toLocalExec(kind, content, field, distance)) return baked(edge)
      const slot = (): Resolution => ({ to: 'patch', block: pointerTo(edge.target, BigInt(distance), making), offset: 0 })
      return toSlot(edge, threadLocal.toInitialExec(kind, content, field), slot)
    }
    case 'distance-slot':
      return toSlot(edge, threadLocal.toInitialExec(kind, content, field), () => ({ to: 'base', rva: reach.rva }))
    case 'slot':
      return toSlot(edge, threadLocal.withSlot(kind, field), () => ({ to: 'base', rva: reach.rva }))
    case 'own-pair':
      return toSlot(edge, threadLocal.withSlot(kind, field), () => ({ to: 'patch', block: pairOf(edge.target, reach, making), offset: 0 }))
  }
}

/** A variable that the patch brings: where threads have it is the engine's to say. */
export function toOwnThreadLocal(
  edge: Edge,
  { block, offset }: Resolution & { to: 'patch' },
  user: Block,
  making: Making,
): Expressed | Refused {
  const { threadLocal } = making.linking
  const inside = offset + edge.addend + biasOf(edge.kind)
  if (user.content === undefined || inside < 0 || inside > block.size) return unsupported(edge)
  if (OWN_THREAD_RECORDS.has(edge.kind)) return { edge: { ...edge, addend: 0 }, resolution: { to: 'patch', block, offset: inside } }
  const slot = (): Resolution => ({
    to: 'patch',
    block: distanceOf(edge.target, { to: 'patch', block, offset: inside }, making),
    offset: 0,
  })
  return toSlot(edge, threadLocal.toInitialExec(edge.kind, user.content, edge.offset), slot)
}

/** Of a function, where its code takes the number of the module from in whose block its variables lie. */
export function indexFor({ target }: Edge, { unit, variables }: Target & { to: 'own-index' }, making: Making): Block {
  const places = variables.flatMap((variable) => making.places.get(variable) ?? [])
  const resolutions = places.map(({ block, offset }) => ({ to: 'patch', block, offset }) as const)
  return moduleIndexOf(target, unit, resolutions, making)
}

function toSlot(edge: Edge, access: SlotAccess | undefined, slot: () => Resolution): Expressed | Refused {
  if (access === undefined) return unsupported(edge)
  if (access === 'no-field') return baked(edge)
  const { field: offset, kind } = access
  return { edge: { ...edge, offset, kind, addend: -biasOf(kind) }, resolution: slot() }
}
