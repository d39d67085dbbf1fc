/** From two builds and a base image to what goes into the patch image. The list in buildPlan is the specification. */
import { HotpatchError } from '../errors.ts'
import { type Acceptance, type Judged, judge } from './acceptances.ts'
import type { BaseImage } from './base-image.ts'
import { type Difference, difference, diffReport } from './diff.ts'
import type { Block } from './graph.ts'
import { type Libraries, NO_LIBRARIES } from './libraries.ts'
import { areOneUnit } from './passes/agreements.ts'
import { type Choice, choose } from './passes/choose.ts'
import { judgeLayouts, type Replacement } from './passes/judge-layouts.ts'
import { type Locator, locator } from './passes/locate.ts'
import { type Neighbours, NO_NEIGHBOURS } from './passes/neighbours.ts'
import { plan as makePlan, type Naming, sizeAfter } from './passes/plan.ts'
import { type Resolved, resolve } from './passes/resolve.ts'
import { judgeSignatures } from './passes/signatures.ts'
import { synthesize } from './passes/synthesize.ts'
import { verify } from './passes/verify.ts'
import type { PatchPlan } from './plan.ts'
import type { Program } from './program.ts'
import { type Reason, refuses, sortReasons } from './reasons.ts'
import type { BuildReport, BuiltFunction } from './report.ts'
import { settle } from './settle.ts'
import { addedBlocks, importsOf, ownImportsOf } from './tables.ts'

export interface Planned {
  /** undefined: nothing to patch. */
  readonly plan: PatchPlan | undefined
  readonly report: BuildReport
}

/**
 * Everything but reading and writing files. Throws REFUSED, ACCEPT_UNMATCHED.
 * @param libraries where names are looked for that neither the objects nor the base image have
 */
export function buildPlan(
  program: Program,
  base: BaseImage,
  naming: Naming,
  acceptances: readonly Acceptance[] = [],
  libraries: Libraries = NO_LIBRARIES,
): Planned {
  // What differs between the builds.
  const found = difference(program)
  // Where things of the build before lie in the base image.
  const places = locator(base)
  const { reasons, planned } = planFor(program, found, { places, naming, libraries, neighbours: NO_NEIGHBOURS })
  return judged(planned, judge(reasons, acceptances))
}

/** What one base image of an update adds to the difference of the builds. */
export interface PlanFor {
  readonly places: Locator
  readonly naming: Naming
  readonly libraries: Libraries
  readonly neighbours: Neighbours
}

export interface Unjudged {
  /** All that speaks against it, and remarks. */
  readonly reasons: readonly Reason[]
  readonly planned: Planned
  /** What of the build after goes into the patch image; the plan has copies of it. */
  readonly travelling: readonly Block[]
}

/** Throws REFUSED. */
export function judged({ plan, report }: Planned, { blockers, accepted }: Judged): Planned {
  // What a person has looked into.
  if (blockers.length > 0) throw refusal(blockers)
  if (plan === undefined) return { plan, report: { ...report, accepted } }
  return { plan: { ...plan, accepted }, report: { ...report, accepted, diff: settle(report.diff, accepted) } }
}

export function planFor(program: Program, found: Difference, { places, naming, libraries, neighbours }: PlanFor): Unjudged {
  const { base } = places
  // Which of the differences the base image holds.
  const choice = choose(program, found.classified, places, neighbours)
  // What the changed functions need: what travels, and where every reference leads.
  const resolved = resolve(program, found, choice, places, libraries, neighbours)
  // References that no patch image can express, expressed otherwise.
  const synthesized = synthesize(resolved, base, libraries)
  // How each old function is redirected.
  const { plan, reasons } = makePlan(choice, synthesized, resolved.graphOf, base, naming)
  // Which types may not be laid out otherwise while the process runs.
  const layouts = judgeLayouts(found.layouts.changes, program, replacementOf(choice, resolved))
  // What other modules, and objects that were not compiled anew, call otherwise than it now is.
  const signatures = judgeSignatures(program, found.classified.changes, base)
  // Whether two ways of finding the same thing agree, and all reasons against a patch at once.
  const all = verify(
    program,
    choice,
    places,
    [choice.reasons, resolved.reasons, synthesized.reasons, reasons, layouts.flatMap((l) => l.reasons), signatures.reasons].flat(),
  )
  // Whether a function of before and one of after may ever be at work together.
  const atOneInstant = layouts.some((layout) => layout.atOneInstant) || areOneUnit(choice.functions, signatures.changed)
  const { mustBeUnused } = signatures
  const built = choice.functions.length === 0 ? undefined : { ...plan, atOneInstant, mustBeUnused }
  const report = { ...reportOf(program, found, choice, all, base, naming, built), accepted: [] }
  return { reasons: all, planned: { plan: built, report }, travelling: built === undefined ? [] : resolved.blocks }
}

/** Other programs of the same build have no code in the patch. */
function replacementOf(choice: Choice, { blocks, graphOf }: Resolved): Replacement {
  return {
    switched: new Set(choice.functions.map(({ before }) => before)),
    objects: new Set(blocks.flatMap((block) => graphOf.get(block)?.path ?? [])),
  }
}

function refusal(reasons: readonly Reason[]): HotpatchError {
  const [first] = reasons
  const more = reasons.length === 1 ? '' : ` and ${reasons.length - 1} more`
  return new HotpatchError('REFUSED', `${first?.code}: ${first?.symbol} (${first?.file}): ${first?.detail}${more}`, { facts: { reasons } })
}

function reportOf(
  program: Program,
  found: Difference,
  choice: Choice,
  reasons: readonly Reason[],
  base: BaseImage,
  naming: Naming,
  plan: PatchPlan | undefined,
): Omit<BuildReport, 'accepted'> {
  const redirects = new Map(plan?.functions.map((f) => [f.rva, f.redirect]))
  const functions: BuiltFunction[] = choice.functions.map((f) => ({
    name: f.change.name,
    file: f.change.file,
    rva: f.rva,
    sizeBefore: f.size,
    sizeAfter: sizeAfter(f),
    redirect: redirects.get(f.rva) ?? '',
    found: f.how,
  }))
  return {
    base: {
      name: base.name,
      buildId: base.identity.buildId,
      textSha256: Buffer.from(base.identity.textSha256).toString('hex'),
      symbols: base.symbolFile,
    },
    id: naming.id,
    sequence: naming.sequence,
    functions,
    added: plan === undefined ? [] : addedBlocks(plan).map(({ name, kind, size }) => ({ name, kind, size })),
    imports: plan === undefined ? [] : importsOf(plan),
    ownImports: plan === undefined ? [] : ownImportsOf(plan),
    remarks: sortReasons(reasons.filter((r) => !refuses(r))),
    notes: [],
    diff: diffReport(program, found),
  }
}
