/**
 * Thread-local variables of the base image, as changed functions reach them.
 *
 * Every thread has a block for each module, laid out when the module was linked; a patch image has none. So where a variable lies in its block
 * is read off the base image, and the rest of the way depends on what the base image is:
 *
 * - A program's block lies at a fixed distance from the thread pointer: every access becomes one by distance (local exec).
 * - A library's is found by the module's number, which the loader has put into slots of the library. The patch has pairs of its own (a copy of the
 *   number, an offset) for `__tls_get_addr`; other accesses go through the library's own slots.
 * - Another module's variable is reached through the base image's slots for its name.
 */
import type { EdgeKind } from '../../machine/edges.ts'
import type { BaseImage, ThreadLocalSlot } from '../base-image.ts'
import type { Edge } from '../graph.ts'
import { unversioned } from '../names.ts'

/** How an access gets to its variable. RVAs are of the base image. */
export type Reach =
  /** Bytes from the thread pointer to the variable, addend apart. */
  | { readonly by: 'distance'; readonly distance: number }
  /** Bytes from the start of the module's block, addend apart. */
  | { readonly by: 'offset'; readonly offset: number }
  /** A slot that holds the distance. */
  | { readonly by: 'distance-slot'; readonly rva: number }
  /** A slot that `__tls_get_addr` or a descriptor's function reads. */
  | { readonly by: 'slot'; readonly rva: number }
  /** A pair that the patch makes: the number that `moduleRva` holds, and the offset. */
  | { readonly by: 'own-pair'; readonly moduleRva: number; readonly offset: number }

/** A variable of the base image, by its offset in the module's block; or one that is known by its name only. */
export interface Variable {
  readonly name: string
  readonly offset: number | undefined
  /** Another module may have taken its place, or it is another module's. */
  readonly preemptible: boolean
}

/** undefined: there is no way. */
export function reachOf(edge: Edge, variable: Variable, base: BaseImage): Reach | undefined {
  const { threadLocal } = base
  if (threadLocal === undefined) return undefined
  const { fromThreadPointer, slots } = threadLocal
  const named = slots.filter((s) => s.name !== undefined && unversioned(s.name) === unversioned(variable.name))
  const ofName = variable.preemptible ? throughSlots(edge.kind, named) : undefined
  if (ofName !== undefined) return ofName
  const { offset } = variable
  // Nothing of the base image says whose it is.
  if (offset === undefined || (variable.preemptible && fromThreadPointer === undefined && !slots.some((s) => isFor(s, offset))))
    return undefined
  if (fromThreadPointer !== undefined && base.format === 'elf') return { by: 'distance', distance: fromThreadPointer + offset }
  if (edge.kind === 'dtpoff32' || edge.kind === 'secrel32') return { by: 'offset', offset }
  const module = slots.find((s) => s.holds === 'module' && s.name === undefined)
  // What follows local dynamic adds the offset.
  const start = edge.kind === 'tlsld32' ? 0 : offset
  if ((edge.kind === 'tlsgd32' || edge.kind === 'tlsld32') && module !== undefined)
    return { by: 'own-pair', moduleRva: module.rva, offset: start }
  return throughSlots(
    edge.kind,
    slots.filter((s) => s.name === undefined && s.offset === offset),
  )
}

/** A pair for the start of the block may be that of local dynamic, which is for no variable. */
const isFor = (slot: ThreadLocalSlot, offset: number): boolean => slot.offset === offset && (slot.holds !== 'pair' || offset !== 0)

const WANTED: Readonly<Partial<Record<EdgeKind, readonly ThreadLocalSlot['holds'][]>>> = {
  tlsgd32: ['pair', 'distance'],
  gottpoff32: ['distance'],
  tlsdesc32: ['descriptor'],
  tlsdesccall: ['descriptor'],
}

function throughSlots(kind: EdgeKind, slots: readonly ThreadLocalSlot[]): Reach | undefined {
  for (const holds of WANTED[kind] ?? []) {
    const slot = slots.find((s) => s.holds === holds)
    if (slot !== undefined) return { by: holds === 'distance' ? 'distance-slot' : 'slot', rva: slot.rva }
  }
  return undefined
}
