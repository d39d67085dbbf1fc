/**
 * Looks at a process with a patch in hand, changing nothing and stopping nothing: find the base image, check that it is that one, check
 * the original bytes, plan the redirects, find a place. `check` shows what came of it, `apply` acts on it; so they cannot disagree.
 */
import type { PatchImage } from '../patch/image.ts'
import type { Process } from '../process/contract.ts'
import { type Blocker, blocker, blockerOf } from './blockers.ts'
import { type FoundBase, findBase, originalMemory } from './find-base.ts'
import { findLedgers } from './find-ledgers.ts'
import { type PlannedFunction, planFunctions } from './functions.ts'
import { findPlaceFor, type Layout, layOut, type Place } from './layout.ts'
import { isInterrupted, type Ledger } from './ledger.ts'
import { equal } from './sites.ts'

export interface Examination {
  readonly base: FoundBase | undefined
  /** The ledger of this very patch, where it is applied. */
  readonly applied: Ledger | undefined
  /** Ledgers that an engine did not bring to rest; apply does that first. */
  readonly interrupted: readonly Ledger[]
  readonly functions: readonly PlannedFunction[]
  /** undefined where there is a blocker or it is applied already. */
  readonly placed: Placed | undefined
  readonly blockers: readonly Blocker[]
}

export interface Placed {
  readonly base: FoundBase
  readonly layout: Layout
  readonly place: Place
}

export function examine(process: Process, image: PatchImage): Examination {
  const { ledgers, damaged } = findLedgers(process)
  const interrupted = ledgers.filter(isInterrupted)
  const read = originalMemory(process, ledgers)
  const blockers: Blocker[] = damaged.map((error) => blockerOf(error, ''))

  const base = findBase(process, image, read)
  if ('code' in base)
    return { base: undefined, applied: undefined, interrupted, functions: [], placed: undefined, blockers: [...blockers, base] }

  const active = ledgers.find((ledger) => ledger.state === 'applied' && ledger.base.address === base.module.base)
  const isThis = active !== undefined && equal(active.image.fileSha256, image.fileSha256)
  const planned = planFunctions(image, base, read)
  const functions = planned.filter((f) => 'redirect' in f)
  if (active !== undefined && isThis) return { base, applied: active, interrupted, functions, placed: undefined, blockers }
  if (active !== undefined) blockers.push(occupied(active, image))
  blockers.push(...planned.filter((f) => 'code' in f))
  if (blockers.length > 0) return { base, applied: undefined, interrupted, functions, placed: undefined, blockers }

  const layout = layOut(image, base, functions)
  const place = placeOrBlocker(process, image, base, layout)
  if ('code' in place) return { base, applied: undefined, interrupted, functions, placed: undefined, blockers: [place] }
  return { base, applied: undefined, interrupted, functions, placed: { base, layout, place }, blockers }
}

function placeOrBlocker(process: Process, image: PatchImage, base: FoundBase, layout: Layout): Place | Blocker {
  try {
    const place = findPlaceFor(process, image, base, layout)
    return place ?? blocker('NO_PLACE', '', `there is no room for ${layout.totalSize} bytes within reach of ${base.module.name}`)
  } catch (error) {
    return blockerOf(error, '')
  }
}

function occupied(active: Ledger, image: PatchImage): Blocker {
  const { id } = active.names
  if (id === image.manifest.id)
    return blocker(
      'PATCH_ID_TAKEN',
      '',
      `a patch ${id} of other content (sequence ${active.sequence}) is applied to ${active.names.baseName}`,
    )
  return blocker('ANOTHER_PATCH_ACTIVE', '', `patch ${id} (sequence ${active.sequence}) is applied to ${active.names.baseName}`)
}
