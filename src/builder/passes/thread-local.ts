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
import { biasOf, EDGE_KINDS, type ThreadLocalAccess } from '../../machine/edges.ts'
import type { BaseImage, ThreadLocalSlot } from '../base-image.ts'
import type { Edge } from '../graph.ts'
import { unversioned } from '../names.ts'

/** How an access gets to what it is for: the variable and the addend. RVAs are of the base image. */
export type Reach =
  /** Bytes from the thread pointer. */
  | { readonly by: 'distance'; readonly distance: number }
  /** Bytes from the start of the module's block. */
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
  const { access } = EDGE_KINDS[edge.kind]
  if (access === undefined) return undefined
  const { fromThreadPointer, slots } = threadLocal
  const named = slots.filter((s) => s.name !== undefined && unversioned(s.name) === unversioned(variable.name))
  // Of a field that counts from its end, the addend is that of the instruction.
  const inside = edge.addend + biasOf(edge.kind)
  const ofName = variable.preemptible && inside === 0 ? throughSlots(access, named) : undefined
  if (ofName !== undefined) return ofName
  const start = variable.offset
  // Nothing of the base image says whose it is.
  if (start === undefined || (variable.preemptible && fromThreadPointer === undefined && !slots.some((s) => isFor(s, start))))
    return undefined
  const offset = start + inside
  if (fromThreadPointer !== undefined && base.format === 'elf') return { by: 'distance', distance: fromThreadPointer + offset }
  if (access === 'block-offset') return { by: 'offset', offset }
  const module = slots.find((s) => s.holds === 'module' && s.name === undefined)
  // What follows local dynamic adds the offset.
  if (access === 'local-dynamic' && module !== undefined) return { by: 'own-pair', moduleRva: module.rva, offset: 0 }
  if (access === 'general-dynamic' && module !== undefined) return { by: 'own-pair', moduleRva: module.rva, offset }
  return throughSlots(
    access,
    slots.filter((s) => s.name === undefined && s.offset === offset),
  )
}

/** A pair for the start of the block may be that of local dynamic, which is for no variable. */
const isFor = (slot: ThreadLocalSlot, offset: number): boolean => slot.offset === offset && (slot.holds !== 'pair' || offset !== 0)

const WANTED: Readonly<Partial<Record<ThreadLocalAccess, readonly ThreadLocalSlot['holds'][]>>> = {
  'general-dynamic': ['pair', 'distance'],
  'initial-exec': ['distance'],
  descriptor: ['descriptor', 'distance'],
}

function throughSlots(access: ThreadLocalAccess, slots: readonly ThreadLocalSlot[]): Reach | undefined {
  for (const holds of WANTED[access] ?? []) {
    const slot = slots.find((s) => s.holds === holds)
    if (slot !== undefined) return { by: holds === 'distance' ? 'distance-slot' : 'slot', rva: slot.rva }
  }
  return undefined
}
