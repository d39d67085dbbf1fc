import { checkEverywhere } from '../../engine/patch-everywhere.ts'
import { readInput } from '../../files.ts'
import { readPatchImage } from '../../patch/read.ts'
import { hostBackend } from '../../process/host.ts'
import type { Answer } from '../answer.ts'
import { acceptedLines } from './accepted.ts'
import { answerEverywhere } from './everywhere.ts'

export async function checkAll(patch: string, options: { readonly name?: string; readonly force: boolean }): Promise<Answer> {
  const image = readPatchImage(readInput(patch))
  const answer = answerEverywhere(await checkEverywhere(await hostBackend(), image, options), {
    outcomes: ['would-refuse', 'would-apply', 'already-applied'],
    refused: ['would-refuse'],
    particulars: ({ blockers, supersedes }) =>
      [...(supersedes ? [`in the place of ${supersedes.id}`] : []), ...blockers.map(({ code, detail }) => `${code}: ${detail}`)].join('; '),
  })
  const { id, sequence, accepted = [] } = image.manifest
  return { ...answer, result: { id, sequence, accepted, ...answer.result }, words: [...answer.words, ...acceptedLines(accepted)] }
}
