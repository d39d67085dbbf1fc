/** Targets that are reached through slots: of the base image's imports, and of the patch's own. */
import { EDGE_KINDS, isBranchKind } from '../../../machine/edges.ts'
import type { Edge } from '../../graph.ts'
import type { Locator } from '../locate.ts'
import type { Context } from './context.ts'
import type { Target } from './target.ts'

/** Slots of the base image for a name. COFF's `__imp_f` is the slot of f itself. */
export function importSlots(name: string, locator: Locator): Target | undefined {
  if (locator.base.format === 'pe' && name.startsWith('__imp_')) {
    const [slot] = locator.slots(name.slice('__imp_'.length))
    return slot === undefined ? undefined : { to: 'base', rva: slot.rva, slot }
  }
  const slots = locator.slots(name)
  return slots.length === 0 ? undefined : { to: 'import', name, slots }
}

export function newImport(name: string, { locator, libraries }: Context): Target | undefined {
  const isSlot = locator.base.format === 'pe' && name.startsWith('__imp_')
  const found = libraries.find(isSlot ? name.slice('__imp_'.length) : name)
  return found === undefined ? undefined : { to: 'new-import', import: found, isSlot }
}

/**
 * A tree of objects makes several modules. What the base image does not hold and imports is another module's: a copy of it in the patch would have
 * variables of its own.
 */
export const ofAnotherModule = (edge: Edge, { locator }: Context): Target | undefined =>
  edge.target.binding === 'local' || edge.target.hidden ? undefined : importSlots(edge.target.name, locator)

/** Where the base image itself reaches its own symbol through a slot, another module may have taken the symbol's place. */
export function preemptible(edge: Edge, { locator }: Context): Target | undefined {
  if (edge.target.binding === 'local' || edge.target.hidden || (!isBranchKind(edge.kind) && EDGE_KINDS[edge.kind].role !== 'got'))
    return undefined
  const slots = locator.slots(edge.target.name)
  const exported = locator.visible(edge.target.name).some((s) => s.exported)
  if (slots.length === 0 || !exported) return undefined
  return isBranchKind(edge.kind) || slots.some((s) => s.binding === 'eager') ? { to: 'import', name: edge.target.name, slots } : undefined
}
