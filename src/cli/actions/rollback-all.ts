import { rollBackAllEverywhere, rollBackEverywhere } from '../../engine/patch-everywhere.ts'
import type { RollbackReport } from '../../engine/rollback.ts'
import { HotpatchError } from '../../errors.ts'
import { hostBackend } from '../../process/host.ts'
import type { Answer } from '../answer.ts'
import { stopWords } from './apply.ts'
import { answerEverywhere } from './everywhere.ts'
import { type RollbackFlags, requireOneWithTo } from './rollback.ts'

const OUTCOMES = ['rolled-back', 'nothing-to-roll-back'] as const

/** Throws USAGE without an id: what else was patched on the machine is not to be undone by leaving out a word. */
export async function rollbackAll(flags: Omit<RollbackFlags, 'pid'> & { readonly name?: string }): Promise<Answer> {
  const { id: ids = [], to, timeout, consistency, waitForReturn, name } = flags
  const [id, ...others] = ids
  if (id === undefined) throw new HotpatchError('USAGE', '--all undoes patches in every process: say which with --id')
  requireOneWithTo(ids, to)
  const options = { to, timeoutMs: timeout * 1000, consistency, waitForReturn, name }
  if (others.length > 0) {
    const answer = answerEverywhere(await rollBackAllEverywhere(await hostBackend(), { ...options, ids }), {
      outcomes: OUTCOMES,
      particulars: ({ patches }) => patches.map((report) => [report.id, particulars(report)].filter(Boolean).join(': ')).join('; '),
    })
    return { ...answer, result: { ids, ...answer.result } }
  }
  const answer = answerEverywhere(await rollBackEverywhere(await hostBackend(), { ...options, id }), { outcomes: OUTCOMES, particulars })
  return { ...answer, result: { id, ...answer.result } }
}

const particulars = ({ stop, to: other }: RollbackReport): string =>
  [...(other ? [`${other.id} is in place again`] : []), ...(stop ? [stopWords(stop)] : [])].join('; ')
