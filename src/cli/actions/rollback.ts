import { rolledBackTogether } from '../../engine/patch-everywhere.ts'
import { type RollbackReport, rollbackPatch, rollbackPatches } from '../../engine/rollback.ts'
import { HotpatchError } from '../../errors.ts'
import { type Answer, done, type JsonFlag } from '../answer.ts'
import { withProcess } from '../live.ts'
import type { SwitchFlags } from '../parameters.ts'
import { good, plural, strong } from '../words.ts'
import { calloutLines, reclaimLines, recoveryLines, stopLine, total } from './apply.ts'

export interface RollbackFlags extends JsonFlag, SwitchFlags {
  readonly pid: number
  /** Several: at one instant. */
  readonly id?: readonly string[]
  readonly to?: number
}

export async function rollback({ pid, id: ids = [], to, timeout, consistency, waitForReturn }: RollbackFlags): Promise<Answer> {
  requireOneWithTo(ids, to)
  const options = { to, timeoutMs: timeout * 1000, consistency, waitForReturn }
  if (ids.length > 1) {
    const { outcome, patches } = rolledBackTogether(await withProcess(pid, (process) => rollbackPatches(process, ids, options)))
    return done(outcome, { pid, patches }, patches.flatMap(words))
  }
  const report = await withProcess(pid, (process) => rollbackPatch(process, { ...options, id: ids[0] }))
  return done(report.outcome, report, words(report))
}

/** Throws USAGE: sequence numbers count for each patch by itself. */
export function requireOneWithTo(ids: readonly string[], to: number | undefined): void {
  if (ids.length > 1 && to !== undefined) throw new HotpatchError('USAGE', '--to goes with one --id')
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
