import { applyEverywhere } from '../../engine/patch-everywhere.ts'
import { hostBackend } from '../../process/host.ts'
import { takeSignedPatch, takeUnsignedPatch } from '../../servicing/trust/patches.ts'
import type { Answer } from '../answer.ts'
import { acceptedLines } from './accepted.ts'
import type { ApplyFlags } from './apply.ts'
import { stopWords } from './apply.ts'
import { answerEverywhere } from './everywhere.ts'
import { missingLines, missingOf } from './missing.ts'

export async function applyAll(
  patch: string,
  { name, timeout, consistency, waitForReturn, force, allowUnsigned }: Omit<ApplyFlags, 'pid'> & { readonly name?: string },
): Promise<Answer> {
  const { image, signedBy } = allowUnsigned ? takeUnsignedPatch(patch) : takeSignedPatch(patch)
  const options = { name, timeoutMs: timeout * 1000, consistency, waitForReturn, force }
  const answer = answerEverywhere(await applyEverywhere(await hostBackend(), image, options), {
    outcomes: ['applied', 'already-applied'],
    particulars: ({ stop }) => (stop ? stopWords(stop) : ''),
  })
  const { id, sequence, accepted = [] } = image.manifest
  const missing = missingOf([image])
  return {
    ...answer,
    result: { id, sequence, signedBy, accepted, missing, ...answer.result },
    words: [...answer.words, ...acceptedLines(accepted), ...missingLines(missing)],
  }
}
