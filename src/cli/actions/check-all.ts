import type { CheckReport } from '../../engine/check.ts'
import { checkAllEverywhere, checkEverywhere } from '../../engine/patch-everywhere.ts'
import { readInput } from '../../files.ts'
import type { PatchImage } from '../../patch/image.ts'
import { readPatchImage } from '../../patch/read.ts'
import { hostBackend } from '../../process/host.ts'
import type { Answer } from '../answer.ts'
import { acceptedLines } from './accepted.ts'
import { answerEverywhere } from './everywhere.ts'

interface Options {
  readonly name?: string
  readonly force: boolean
}

const OUTCOMES = { outcomes: ['would-refuse', 'would-apply', 'already-applied'], refused: ['would-refuse'] }

export async function checkAll(patches: readonly string[], options: Options): Promise<Answer> {
  const images = patches.map((patch) => readPatchImage(readInput(patch)))
  const [only, ...others] = images
  const answer =
    only !== undefined && others.length === 0
      ? answerEverywhere(await checkEverywhere(await hostBackend(), only, options), { ...OUTCOMES, particulars })
      : answerEverywhere(await checkAllEverywhere(await hostBackend(), images, options), {
          ...OUTCOMES,
          particulars: ({ patches: reports }) =>
            reports.map((report) => [report.id, particulars(report)].filter(Boolean).join(': ')).join('; '),
        })
  const told = images.map(particularsOf)
  const which = told.length === 1 ? { ...told[0] } : { patches: told }
  return {
    ...answer,
    result: { ...which, ...answer.result },
    words: [...answer.words, ...told.flatMap(({ accepted }) => acceptedLines(accepted))],
  }
}

const particularsOf = ({ manifest: { id, sequence, accepted = [] } }: PatchImage) => ({ id, sequence, accepted })

const particulars = ({ blockers, supersedes }: CheckReport): string =>
  [...(supersedes ? [`in the place of ${supersedes.id}`] : []), ...blockers.map(({ code, detail }) => `${code}: ${detail}`)].join('; ')
