/**
 * One update of several base images: a program and its libraries, several programs with one static library inside. Which objects went into which of
 * them is told by proof: the functions of the build before stand there. All are planned before one is written, and one that is refused refuses all.
 */
import { HotpatchError } from '../errors.ts'
import { type Acceptance, judge } from './acceptances.ts'
import type { BaseImage } from './base-image.ts'
import { type BuildOptions, type BuildOutcome, typeFiles, writeTogether } from './build.ts'
import { judged, planFor, type Unjudged } from './build-plan.ts'
import { difference } from './diff.ts'
import { librariesFor, readBases } from './images.ts'
import { readProgram } from './inputs.ts'
import { locator } from './passes/locate.ts'
import { neighboursOf } from './passes/neighbours.ts'
import { sharedState } from './passes/shared-state.ts'
import { type Reason, refuses } from './reasons.ts'
import { refuseStrangers } from './strangers.ts'

export interface UpdateOptions extends Omit<BuildOptions, 'base' | 'id'> {
  /** The programs, libraries and DLLs that run, and the id of the patch for each. */
  readonly bases: readonly { readonly base: string; readonly id: string }[]
}

/** An outcome for each base image, in the order given. */
export type UpdateOutcome = readonly BuildOutcome[]

/** What is known of one image while its fate depends on the others. */
interface ForImage extends Unjudged {
  readonly base: BaseImage
}

/**
 * The same inputs give the same bytes. Throws REFUSED (all reasons in its facts, each with the image that it is about), ACCEPT_UNMATCHED,
 * SYMBOLS_MISMATCH, FILE_UNREADABLE, FORMAT_UNKNOWN and what readers throw for damaged files.
 */
export function buildUpdate(options: UpdateOptions): UpdateOutcome {
  const symbols = options.symbols ?? []
  const paths = options.bases.map(({ base }) => base)
  const { bases, notes, strangers } = readBases(paths, symbols)
  const program = readProgram(options.before, options.after, options.sourceDiff, typeFiles(symbols, bases))
  refuseStrangers(strangers, [program])
  const found = difference(program)
  const places = bases.map(locator)
  const images = bases.map((base, i): ForImage => {
    const here = places[i] as (typeof places)[number]
    const naming = { ...options, id: options.bases[i]?.id ?? '' }
    const neighbours = neighboursOf(
      here,
      places.filter((other) => other !== here),
    )
    return {
      base,
      ...planFor(program, found, { places: here, naming, libraries: librariesFor(base, options.libraries ?? []), neighbours }),
    }
  })
  const shared = sharedState(
    program,
    images.map(({ travelling }, i) => ({ travelling, places: places[i] as (typeof places)[number] })),
  )
  const all = images.map((image) => ({
    ...image,
    reasons: [...image.reasons, ...shared.filter(({ bases: of }) => of.has(image.base)).map((s) => s.reason)],
  }))
  const judgements = all.map(({ reasons }) => judge(reasons, acceptancesFor(reasons, options.accept ?? [], all)))
  const refused = all.flatMap(({ base }, i) => (judgements[i]?.blockers ?? []).map((reason) => ({ ...reason, image: base.name })))
  if (refused.length > 0) throw refusal(refused)
  const settled = all.map(({ planned }, i) => judged(planned, judgements[i] as (typeof judgements)[number]))
  return writeTogether(settled.map(({ plan, report }) => ({ plan, report: { ...report, notes } })))
}

/** Those that are about this image. One that is about none of them is left for `judge` to throw on. */
function acceptancesFor(reasons: readonly Reason[], acceptances: readonly Acceptance[], images: readonly ForImage[]): Acceptance[] {
  const isOf = ({ code, symbol }: Acceptance, of: readonly Reason[]): boolean =>
    of.some((r) => refuses(r) && r.code === code && r.symbol === symbol)
  return acceptances.filter((acceptance) => isOf(acceptance, reasons) || !images.some((image) => isOf(acceptance, image.reasons)))
}

function refusal(reasons: readonly (Reason & { readonly image: string })[]): HotpatchError {
  const [first] = reasons
  const images = [...new Set(reasons.map(({ image }) => image))]
  const more = reasons.length === 1 ? '' : ` and ${reasons.length - 1} more`
  const detail = `${first?.code}: ${first?.symbol} (${first?.file}): ${first?.detail}${more}; no patch was made for any of the images`
  return new HotpatchError('REFUSED', `${images.join(' and ')} cannot be patched: ${detail}`, { facts: { reasons, images } })
}
