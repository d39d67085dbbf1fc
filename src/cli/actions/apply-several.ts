/** `hotpatch apply` with several patch images: those of one update, all or none, in one stop. */
import { applyPatches } from '../../engine/apply.ts'
import { applyAllEverywhere, together } from '../../engine/patch-everywhere.ts'
import type { PatchImage } from '../../patch/image.ts'
import { hostBackend } from '../../process/host.ts'
import { type TakenPatch, takeSignedPatch, takeUnsignedPatch } from '../../servicing/trust/patches.ts'
import { type Answer, done } from '../answer.ts'
import { withProcess } from '../live.ts'
import { acceptedLines } from './accepted.ts'
import { type ApplyFlags, applyWords, stopWords } from './apply.ts'
import { answerEverywhere } from './everywhere.ts'
import { type Missing, missingLines, missingOf } from './missing.ts'

/** Every patch image is read, validated and verified whole before the process is opened. */
export async function applySeveral(patches: readonly string[], flags: ApplyFlags): Promise<Answer> {
  const { pid, timeout, consistency, waitForReturn, force } = flags
  const taken = patches.map(taking(flags))
  const images = taken.map(({ image }) => image)
  const options = { timeoutMs: timeout * 1000, consistency, waitForReturn, force }
  const reports = await withProcess(pid, (process) => applyPatches(process, images, options))
  const told = reports.map((report, i) => ({ ...report, ...particularsOf(taken[i] as TakenPatch) }))
  const missing = missingOf(images)
  return done(together(reports).outcome, { pid, patches: told, missing }, [
    ...told.flatMap((report) => [...applyWords(report, report.signedBy), ...acceptedLines(report.accepted)]),
    ...missingLines(missing),
  ])
}

export async function applySeveralEverywhere(
  patches: readonly string[],
  flags: Omit<ApplyFlags, 'pid'> & { readonly name?: string },
): Promise<Answer> {
  const { name, timeout, consistency, waitForReturn, force } = flags
  const taken = patches.map(taking(flags))
  const images = taken.map(({ image }) => image)
  const options = { name, timeoutMs: timeout * 1000, consistency, waitForReturn, force }
  const answer = answerEverywhere(await applyAllEverywhere(await hostBackend(), images, options), {
    outcomes: ['applied', 'already-applied'],
    particulars: ({ patches: applied }) => {
      const stop = applied.find((report) => report.stop !== undefined)?.stop
      return [applied.map(({ id }) => id).join(', '), ...(stop ? [stopWords(stop)] : [])].join('; ')
    },
  })
  const missing: Missing[] = missingOf(images)
  const particulars = taken.map((patch) => ({
    id: patch.image.manifest.id,
    sequence: patch.image.manifest.sequence,
    ...particularsOf(patch),
  }))
  return {
    ...answer,
    result: { patches: particulars, missing, ...answer.result },
    words: [...answer.words, ...particulars.flatMap(({ accepted }) => acceptedLines(accepted)), ...missingLines(missing)],
  }
}

const taking =
  ({ allowUnsigned }: Pick<ApplyFlags, 'allowUnsigned'>) =>
  (path: string): TakenPatch =>
    allowUnsigned ? takeUnsignedPatch(path) : takeSignedPatch(path)

const particularsOf = ({ image, signedBy }: { readonly image: PatchImage; readonly signedBy: TakenPatch['signedBy'] }) => ({
  signedBy,
  accepted: image.manifest.accepted ?? [],
})
