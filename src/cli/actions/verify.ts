import { type VerifyReport, verifyProcess } from '../../engine/verify.ts'
import { Exit } from '../../errors.ts'
import type { Answer } from '../answer.ts'
import { withProcess } from '../live.ts'
import { bad, good, plural, strong, table } from '../words.ts'

/** `differs` is exit 3: nothing was changed, and nothing should be until someone has looked. */
export async function verify(pid: number): Promise<Answer> {
  const report = await withProcess(pid, verifyProcess)
  return { outcome: report.outcome, exit: report.outcome === 'differs' ? Exit.refused : Exit.done, result: report, words: words(report) }
}

function words({ pid, outcome, patches, damaged }: VerifyReport): string[] {
  if (outcome === 'nothing-to-verify') return [`Process ${pid} carries no patch.`]
  return [
    ...patches.flatMap(({ id, sequence, state, bytesCompared, findings }) => [
      `${findings.length === 0 && state === 'applied' ? good('intact') : bad('differs')} ${strong(id)}, sequence ${sequence}, ${state}: ${plural(bytesCompared, 'byte')} compared`,
      ...(state === 'applied' ? [] : [bad('  an engine was cut off in this step; apply or rollback will finish or undo it')]),
      ...(findings.length === 0
        ? []
        : table(
            [{ title: 'where' }, { title: 'function' }, { title: 'address' }, { title: 'expected' }, { title: 'found' }],
            findings.map((f) => [f.what, strong(f.function), f.address, f.expected, f.found]),
          )),
    ]),
    ...damaged.map(({ code, detail }) => bad(`${code}: ${detail}`)),
  ]
}
