/** `hotpatch build`: two builds and a base image in, one patch image or a reasoned refusal out. */
import type { Acceptance } from './acceptances.ts'
import type { BaseImage } from './base-image.ts'
import { buildPlan, type Planned } from './build-plan.ts'
import { librariesFor, readBases, writePatch } from './images.ts'
import { readProgram } from './inputs.ts'
import type { Naming } from './passes/plan.ts'
import type { Program } from './program.ts'
import type { BuildReport } from './report.ts'
import { refuseStrangers } from './strangers.ts'

export interface BuildOptions extends Naming {
  /** Object file, archive or folder of them: the build that the base image was linked from. */
  readonly before: string
  /** The same of the build after the fix. */
  readonly after: string
  /** The program, library or DLL that runs. */
  readonly base: string
  /** Reasons that are not to refuse it. */
  readonly accept?: readonly Acceptance[]
  /** The fix as a unified diff: what counts as a moved line is then held against it. */
  readonly sourceDiff?: string | undefined
  /** Files with the symbols of a stripped base image or with types of the objects, and folders in which they are looked for. */
  readonly symbols?: readonly string[]
  /** Shared objects, import libraries or DLLs in which names are looked for that the base image does not import. */
  readonly libraries?: readonly string[]
}

export type BuildOutcome =
  | { readonly outcome: 'built'; readonly image: Uint8Array; readonly report: BuildReport }
  /** Nothing differs that the base image would notice. */
  | { readonly outcome: 'nothing'; readonly report: BuildReport }

/**
 * The same inputs give the same bytes, whatever the folders are called and in whichever order they are listed.
 * Throws REFUSED (all reasons in its facts), ACCEPT_UNMATCHED, SYMBOLS_MISMATCH, FILE_UNREADABLE, FORMAT_UNKNOWN and what readers throw for
 * damaged files.
 */
export const buildPatch = (options: BuildOptions): BuildOutcome => writeTogether(planPatches([options]))[0] as BuildOutcome

/** As it is planned: what goes on around the plan of the image with this index. */
type Around = (index: number, make: () => Planned) => Planned

/**
 * All of buildPatch but the patch images themselves, for images that each have objects of their own. Files with symbols, taken from the first options, may
 * be any one's of the images. Throws as buildPatch.
 */
export function planPatches(all: readonly BuildOptions[], around: Around = (_index, make) => make()): Planned[] {
  const symbols = all[0]?.symbols ?? []
  const { bases, notes, strangers } = readBases(
    all.map(({ base }) => base),
    symbols,
  )
  const programOf = ({ before, after, sourceDiff }: BuildOptions): Program =>
    readProgram(before, after, sourceDiff, typeFiles(symbols, bases))
  // Which program a file is for is known when all are read.
  const programs = strangers.length === 0 ? undefined : all.map(programOf)
  refuseStrangers(strangers, programs ?? [])
  return all.map((options, i) => around(i, () => planOn(bases[i] as BaseImage, programs?.[i] ?? programOf(options), options, notes)))
}

/** Files that may have types of the objects: those that were given, and those that the images have their symbols from. */
export const typeFiles = (symbols: readonly string[], bases: readonly BaseImage[]): string[] => [
  ...new Set([...symbols, ...bases.flatMap(({ symbolFile }) => symbolFile ?? [])]),
]

function planOn(base: BaseImage, program: Program, options: BuildOptions, notes: readonly string[]): Planned {
  const { plan, report: planned } = buildPlan(program, base, options, options.accept, librariesFor(base, options.libraries ?? []))
  return { plan, report: { ...planned, notes } }
}

/** Patch images of one update; each names all of them. */
export function writeTogether(planned: readonly Planned[]): BuildOutcome[] {
  const together = planned.flatMap(({ plan }) => (plan === undefined ? [] : [{ id: plan.id, base: plan.base.name }]))
  return planned.map(({ plan, report }): BuildOutcome => {
    if (plan === undefined) return { outcome: 'nothing', report }
    return { outcome: 'built', image: writePatch(together.length > 1 ? { ...plan, together } : plan), report }
  })
}
