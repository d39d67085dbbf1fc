import { type CheckReport, checkPatch } from '../../engine/check.ts'
import { Exit } from '../../errors.ts'
import { readInput } from '../../files.ts'
import { readPatchImage } from '../../patch/read.ts'
import type { Answer } from '../answer.ts'
import { withProcess } from '../live.ts'
import { bad, dim, good, plural, strong, table } from '../words.ts'
import { acceptedLines } from './accepted.ts'

/** `would-refuse` is an answer here, not an error: the question was whether. The exit code says it all the same. */
export async function check(pid: number, patch: string, force: boolean): Promise<Answer> {
  const image = readPatchImage(readInput(patch))
  const report = await withProcess(pid, (process) => checkPatch(process, image, { force }))
  const { accepted = [] } = image.manifest
  return {
    outcome: report.outcome,
    exit: report.outcome === 'would-refuse' ? Exit.refused : Exit.done,
    result: { ...report, accepted },
    words: [...words(report), ...acceptedLines(accepted)],
  }
}

const VERDICTS: Readonly<Record<CheckReport['outcome'], string>> = {
  'would-apply': good('would apply'),
  'already-applied': good('already applied'),
  'would-refuse': bad('would be refused'),
}

function words({ pid, outcome, id, sequence, supersedes, base, functions, place, loads, blockers, interrupted }: CheckReport): string[] {
  return [
    `${VERDICTS[outcome]}: ${strong(id)}, sequence ${sequence}, to process ${pid}${base ? ` on ${base.name} at ${base.address}` : ''}`,
    ...(base?.deleted ? [dim('  the file of the base image is deleted or replaced on disk; what counts is the memory')] : []),
    ...(supersedes ? [`  in the place of ${strong(supersedes.id)}, sequence ${supersedes.sequence}`] : []),
    ...interrupted.map((ledger) => `  ${ledger.id} was cut off while ${ledger.state}; apply would first complete or undo that`),
    ...(functions.length === 0
      ? []
      : table(
          [{ title: 'function' }, { title: 'file' }, { title: 'address' }, { title: 'redirect' }, { title: 'overwritten' }],
          functions.map((f) => [
            strong(f.name),
            f.file,
            f.address,
            f.redirect,
            f.overwritten === 0 ? 'none: redirected already' : plural(f.overwritten, 'byte'),
          ]),
        )),
    ...(place
      ? [dim(`  patch image: ${place.imageSize} bytes at ${place.image}; address table: ${place.hpatSize} bytes at ${place.hpat}`)]
      : []),
    ...(loads.length > 0 ? [`  the process would load ${loads.join(', ')}`] : []),
    ...blockers.flatMap(({ code, symbol, detail, todo }) => [
      `  - ${bad(code)}${symbol ? ` ${strong(symbol)}` : ''}: ${detail}`,
      `    ${dim('→')} ${todo}`,
    ]),
  ]
}
