/** `hotpatch build`: two builds and a base image in, one patch image or a reasoned refusal out. */
import { buildPlan } from './build-plan.ts'
import { readBase, writePatch } from './images.ts'
import { readProgram } from './inputs.ts'
import type { Naming } from './passes/plan.ts'
import type { BuildReport } from './report.ts'

export interface BuildOptions extends Naming {
  /** Object file, archive or folder of them: the build that the base image was linked from. */
  readonly before: string
  /** The same of the build after the fix. */
  readonly after: string
  /** The program, library or DLL that runs. */
  readonly base: string
}

export type BuildOutcome =
  | { readonly outcome: 'built'; readonly image: Uint8Array; readonly report: BuildReport }
  /** Nothing differs that the base image would notice. */
  | { readonly outcome: 'nothing'; readonly report: BuildReport }

/**
 * The same inputs give the same bytes, whatever the folders are called and in whichever order they are listed.
 * Throws REFUSED (all reasons in its facts), FILE_UNREADABLE, FORMAT_UNKNOWN and what readers throw for damaged files.
 */
export function buildPatch(options: BuildOptions): BuildOutcome {
  const program = readProgram(options.before, options.after)
  const base = readBase(options.base)
  const planned = buildPlan(program, base, options)
  return planned.plan === undefined
    ? { outcome: 'nothing', report: planned.report }
    : { outcome: 'built', image: writePatch(planned.plan), report: planned.report }
}
