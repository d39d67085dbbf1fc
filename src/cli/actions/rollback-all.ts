import { rollBackEverywhere } from '../../engine/patch-everywhere.ts'
import { HotpatchError } from '../../errors.ts'
import { hostBackend } from '../../process/host.ts'
import type { Answer } from '../answer.ts'
import { stopWords } from './apply.ts'
import { answerEverywhere } from './everywhere.ts'
import type { RollbackFlags } from './rollback.ts'

/** Throws USAGE without an id: what else was patched on the machine is not to be undone by leaving out a word. */
export async function rollbackAll(flags: Omit<RollbackFlags, 'pid'> & { readonly name?: string }): Promise<Answer> {
  const { id, to, timeout, consistency, waitForReturn, name } = flags
  if (id === undefined) throw new HotpatchError('USAGE', '--all undoes one patch in every process: say which with --id')
  const options = { id, to, timeoutMs: timeout * 1000, consistency, waitForReturn, name }
  const answer = answerEverywhere(await rollBackEverywhere(await hostBackend(), options), {
    outcomes: ['rolled-back', 'nothing-to-roll-back'],
    particulars: ({ stop, to: other }) =>
      [...(other ? [`${other.id} is in place again`] : []), ...(stop ? [stopWords(stop)] : [])].join('; '),
  })
  return { ...answer, result: { id, ...answer.result } }
}
