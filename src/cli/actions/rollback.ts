import { type RollbackReport, rollbackPatch } from '../../engine/rollback.ts'
import { type Answer, done } from '../answer.ts'
import { withProcess } from '../live.ts'
import { good, plural, strong } from '../words.ts'
import { recoveryLines, stopLine } from './apply.ts'

export async function rollback(pid: number, id: string | undefined, timeoutSeconds: number): Promise<Answer> {
  const report = await withProcess(pid, (process) => rollbackPatch(process, { id, timeoutMs: timeoutSeconds * 1000 }))
  return done(report.outcome, report, words(report))
}

function words({ pid, outcome, id, functions, stop, retired, recovered }: RollbackReport): string[] {
  const before = recoveryLines(recovered)
  if (outcome === 'nothing-to-roll-back')
    return [...before, `Process ${pid} carries no applied patch${id ? ` ${id}` : ''}: nothing to roll back.`]
  return [
    ...before,
    `${good('rolled back')} ${strong(id ?? '')} in process ${pid}: the original bytes of ${plural(functions.length, 'function')} are back (${functions.map(({ name }) => name).join(', ')})`,
    ...(stop ? [stopLine(stop)] : []),
    `  ${plural(
      retired.reduce((sum, { size }) => sum + size, 0),
      'byte',
    )} stay mapped: threads may still return into the patch image`,
  ]
}
