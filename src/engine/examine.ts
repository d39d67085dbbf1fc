/**
 * Looks at a process with a patch in hand, changing nothing and stopping nothing: find the base image, check that it is that one, check
 * the original bytes, plan the redirects, find a place. `check` shows what came of it, `apply` acts on it; so they cannot disagree.
 */
import type { PatchImage } from '../patch/image.ts'
import type { Process } from '../process/contract.ts'
import { type Blocker, blocker, blockerOf } from './blockers.ts'
import { exportsInUse } from './exports-in-use.ts'
import { type FoundBase, findBase, originalMemory } from './find-base.ts'
import type { FoundLedgers } from './find-ledgers.ts'
import { type PlannedFunction, planFunctions } from './functions.ts'
import { type ResolvedImports, resolveImports } from './imports/resolve.ts'
import { findPlaceFor, type Layout, layOut, type Place } from './layout.ts'
import { isInterrupted, type Ledger } from './ledger.ts'
import { equal, lookAt, strangeBytes } from './sites.ts'
import { threadLocalBlockers } from './thread-local/places.ts'
import { wholeOf } from './transition.ts'

export interface Examination {
  readonly base: FoundBase | undefined
  /** The ledger of this very patch, where it is applied. */
  readonly applied: Ledger | undefined
  /** The ledger of the patch whose place this one takes. */
  readonly inPlace: Ledger | undefined
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
  readonly imports: ResolvedImports
}

export interface ExamineOptions {
  /** A patch of the same sequence number may be replaced. */
  readonly force?: boolean
}

/** @param found every ledger of the process, as it is now */
export function examine(process: Process, { ledgers, damaged }: FoundLedgers, image: PatchImage, options: ExamineOptions): Examination {
  const interrupted = ledgers.filter(isInterrupted)
  const read = originalMemory(process, ledgers)
  const blockers: Blocker[] = damaged.map((error) => blockerOf(error, ''))

  const base = findBase(process, image, read)
  const none = { base: undefined, applied: undefined, inPlace: undefined, interrupted, functions: [], placed: undefined }
  if ('code' in base) return { ...none, blockers: [...blockers, base] }

  const active = ledgers.find((ledger) => isStanding(ledger, ledgers) && ledger.base.address === base.module.base)
  const isThis = active !== undefined && equal(active.image.fileSha256, image.fileSha256)
  const inPlace = isThis ? undefined : active
  const planned = planFunctions(image, base, read, active)
  const functions = planned.filter((f) => 'redirect' in f)
  const found = { base, applied: isThis ? active : undefined, inPlace, interrupted, functions, placed: undefined, blockers }
  if (isThis) return found
  if (inPlace !== undefined) blockers.push(...reasonsToKeep(process, inPlace, image, options))
  const imports = resolveImports(process, image)
  blockers.push(...planned.filter((f) => 'code' in f), ...imports.blockers)
  blockers.push(...threadLocalBlockers(process, image, inPlace))
  blockers.push(...exportsInUse(process, base.module, image.manifest.mustBeUnused ?? []))
  if (blockers.length > 0) return found

  const layout = layOut(image, base, functions)
  const place = placeOrBlocker(process, image, base, layout)
  if ('code' in place) return { ...found, blockers: [place] }
  return { ...found, placed: { base, layout, place, imports } }
}

/** Applied, or applied until a successor that is not is taken back. */
const isStanding = (ledger: Ledger, ledgers: readonly Ledger[]): boolean =>
  ledger.state === 'applied' && !ledgers.some((other) => other.address === ledger.successor && other.state === 'applied')

function placeOrBlocker(process: Process, image: PatchImage, base: FoundBase, layout: Layout): Place | Blocker {
  try {
    const place = findPlaceFor(process, image, base, layout)
    return place ?? blocker('NO_PLACE', '', `there is no room for ${layout.totalSize} bytes within reach of ${base.module.name}`)
  } catch (error) {
    return blockerOf(error, '')
  }
}

/** Why the patch that is in place must stay there. */
function reasonsToKeep(process: Process, inPlace: Ledger, image: PatchImage, { force = false }: ExamineOptions): Blocker[] {
  const [id, sequence, before] = [image.manifest.id, image.table.sequenceNumber, inPlace.sequence]
  const standing = `patch ${inPlace.names.id} (sequence ${before}) is applied to ${inPlace.names.baseName}`
  if (sequence < before || (sequence === before && !force))
    return [
      id === inPlace.names.id && sequence === before
        ? blocker('PATCH_ID_TAKEN', '', `a patch ${id} of other content (sequence ${before}) is applied to ${inPlace.names.baseName}`)
        : blocker('SEQUENCE_NOT_HIGHER', '', `${standing}, and this one has sequence ${sequence}`),
    ]
  const strange = lookAt(process, wholeOf(inPlace)).filter(({ bytes }) => bytes !== 'to')
  return strange.map((state) => blocker('VERIFY_FAILED', state.store.function, strangeBytes(state)))
}
