import { type CheckReport, checkedTogether, checkPatches } from '../../engine/check.ts'
import { Exit } from '../../errors.ts'
import { readInput } from '../../files.ts'
import { readPatchImage } from '../../patch/read.ts'
import type { Answer } from '../answer.ts'
import { withProcess } from '../live.ts'
import { bad, dim, good, plural, strong, table } from '../words.ts'
import { acceptedLines } from './accepted.ts'

/** `would-refuse` is an answer here, not an error: the question was whether. The exit code says it all the same. */
export async function check(pid: number, patches: readonly string[], options: { readonly force: boolean }): Promise<Answer> {
  const images = patches.map((patch) => readPatchImage(readInput(patch)))
  const { outcome, patches: reports } = checkedTogether(await withProcess(pid, (process) => checkPatches(process, images, options)))
  const told = reports.map((report, i) => ({ ...report, accepted: images[i]?.manifest.accepted ?? [] }))
  return {
    outcome,
    exit: outcome === 'would-refuse' ? Exit.refused : Exit.done,
    result: told.length === 1 ? { ...told[0] } : { pid, patches: told },
    words: told.flatMap((report) => [...words(report), ...acceptedLines(report.accepted)]),
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
