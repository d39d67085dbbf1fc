import { verifyEverywhere } from '../../engine/patch-everywhere.ts'
import { hostBackend } from '../../process/host.ts'
import type { Answer } from '../answer.ts'
import { answerEverywhere } from './everywhere.ts'

export async function verifyAll(which: { readonly name?: string; readonly id?: string }): Promise<Answer> {
  return answerEverywhere(await verifyEverywhere(await hostBackend(), which), {
    outcomes: ['differs', 'verified', 'nothing-to-verify'],
    refused: ['differs'],
    particulars: ({ patches }) =>
      patches
        .map(({ id, state, findings }) => {
          const wrong = findings.map((finding) => `${finding.what} ${finding.function} at ${finding.address}`)
          return [`${id} ${state}`, ...wrong].join(', ')
        })
        .join('; '),
  })
}
