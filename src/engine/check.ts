/** What applying a patch would do. Changes nothing, stops nothing. */
import type { PatchImage } from '../patch/image.ts'
import type { Process } from '../process/contract.ts'
import type { Blocker } from './blockers.ts'
import { type Examination, type ExamineOptions, examine } from './examine.ts'
import { findLedgers } from './find-ledgers.ts'
import type { LedgerState, RedirectKind } from './ledger-format.ts'
import { hexAddress } from './sites.ts'
import { requireDifferentBases } from './together.ts'

export interface CheckReport {
  readonly pid: number
  readonly outcome: 'would-apply' | 'already-applied' | 'would-refuse'
  readonly id: string
  readonly sequence: number
  /** The patch whose place it would take. */
  readonly supersedes: { readonly id: string; readonly sequence: number } | undefined
  readonly base: { readonly name: string; readonly path: string; readonly address: string; readonly deleted: boolean } | undefined
  /** Those whose original bytes are in place and that can be redirected. */
  readonly functions: readonly {
    readonly name: string
    readonly file: string
    readonly address: string
    readonly size: number
    readonly redirect: RedirectKind
    /** Bytes of the old function that are overwritten; 0 where the redirect stands already. */
    readonly overwritten: number
  }[]
  /** Where image and address table would be mapped if nothing takes the place meanwhile. */
  readonly place: { readonly image: string; readonly imageSize: number; readonly hpat: string; readonly hpatSize: number } | undefined
  /** Libraries that the process would load for it. */
  readonly loads: readonly string[]
  /** Every reason against it. */
  readonly blockers: readonly Blocker[]
  /** What an engine that was cut off has left; apply would first complete or undo it. */
  readonly interrupted: readonly { readonly id: string; readonly state: LedgerState }[]
}

export const checkPatch = (process: Process, image: PatchImage, options: ExamineOptions = {}): CheckReport =>
  reportOf(process, image, examine(process, findLedgers(process), image, options))

/** Patches of one update, for different base images. A report for each, in the order given. Throws SAME_BASE. */
export function checkPatches(process: Process, images: readonly PatchImage[], options: ExamineOptions = {}): CheckReport[] {
  const found = findLedgers(process)
  const examined = images.map((image) => ({ image, ...examine(process, found, image, options) }))
  requireDifferentBases(process, examined)
  return examined.map(({ image, ...examination }) => reportOf(process, image, examination))
}

export interface CheckedTogether {
  /** would-refuse: one of them would be, and so none would be applied. already-applied: all of them are. */
  readonly outcome: CheckReport['outcome']
  readonly patches: readonly CheckReport[]
}

export function checkedTogether(patches: readonly CheckReport[]): CheckedTogether {
  const outcomes = new Set(patches.map(({ outcome }) => outcome))
  return { outcome: (['would-refuse', 'would-apply'] as const).find((outcome) => outcomes.has(outcome)) ?? 'already-applied', patches }
}

function reportOf(process: Process, image: PatchImage, examination: Examination): CheckReport {
  const { base, applied, inPlace, functions, placed, blockers, interrupted } = examination
  return {
    pid: process.pid,
    outcome: blockers.length > 0 ? 'would-refuse' : applied ? 'already-applied' : 'would-apply',
    id: image.manifest.id,
    sequence: image.manifest.sequence,
    supersedes: inPlace && { id: inPlace.names.id, sequence: inPlace.sequence },
    base: base && { name: base.module.name, path: base.module.path, address: hexAddress(base.module.base), deleted: base.module.deleted },
    functions: functions.map(({ name, file, entryAddress, size, redirect }) => ({
      name,
      file,
      address: hexAddress(entryAddress),
      size,
      redirect: redirect.kind,
      overwritten: redirect.standing ? 0 : redirect.switch.length,
    })),
    place: placed && {
      image: hexAddress(placed.place.image),
      imageSize: image.imageSize,
      hpat: hexAddress(placed.place.region),
      hpatSize: placed.layout.regionSize,
    },
    loads: placed?.imports.missing ?? [],
    blockers,
    interrupted: interrupted.map(({ names, state }) => ({ id: names.id, state })),
  }
}
