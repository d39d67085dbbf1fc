import type { Consistency } from '../../engine/consistency.ts'
import { type RollbackReport, rollbackPatch } from '../../engine/rollback.ts'
import { type Answer, done, type JsonFlag } from '../answer.ts'
import { withProcess } from '../live.ts'
import { good, plural, strong } from '../words.ts'
import { calloutLines, reclaimLines, recoveryLines, stopLine, total } from './apply.ts'

export interface RollbackFlags extends JsonFlag {
  readonly pid: number
  readonly id?: string
  readonly to?: number
  readonly timeout: number
  readonly consistency: Consistency
  readonly waitForReturn: boolean
}

export async function rollback({ pid, id, to, timeout, consistency, waitForReturn }: RollbackFlags): Promise<Answer> {
  const options = { id, to, timeoutMs: timeout * 1000, consistency, waitForReturn }
  const report = await withProcess(pid, (process) => rollbackPatch(process, options))
  return done(report.outcome, report, words(report))
}

function words({ pid, outcome, id, to, functions, stop, callouts, retired, reclaim, recovered }: RollbackReport): string[] {
  const before = recoveryLines(recovered)
  if (outcome === 'nothing-to-roll-back')
    return [...before, `Process ${pid} carries no applied patch${id ? ` ${id}` : ''}: nothing to roll back.`]
  return [
    ...before,
    `${good('rolled back')} ${strong(id ?? '')} in process ${pid}: ${
      to
        ? `${strong(to.id)}, sequence ${to.sequence}, is in place again`
        : `the original bytes of ${plural(functions.length, 'function')} are back (${functions.map(({ name }) => name).join(', ')})`
    }`,
    ...(stop ? [stopLine(stop)] : []),
    ...calloutLines(callouts),
    ...reclaimLines(reclaim),
    ...(retired.length > 0 ? [`  ${plural(total(retired), 'byte')} stay mapped: something may still lead into the patch image`] : []),
  ]
}
