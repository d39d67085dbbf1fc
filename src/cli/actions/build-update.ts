/** `hotpatch build` with several base images: a patch image for each that something changes in, or none. */
import { existsSync } from 'node:fs'
import type { BuildOutcome } from '../../builder/build.ts'
import { buildUpdate } from '../../builder/build-update.ts'
import type { BuildReport } from '../../builder/report.ts'
import { HotpatchError } from '../../errors.ts'
import { type Answer, done } from '../answer.ts'
import { type BuildFlags, buildSettings, builtWords, givenInputs, nothingWords, patchIds } from './build.ts'
import { isFolder, makeFolder, patchFiles, writePatches } from './patch-files.ts'

/** Throws USAGE, FILE_UNWRITABLE, and what buildUpdate throws. */
export function buildSeveral(flags: BuildFlags): Answer {
  const { before, after, bases } = givenInputs(flags)
  if (existsSync(flags.out) && !isFolder(flags.out))
    throw new HotpatchError('USAGE', `${flags.out} is a file: several base images need a folder for -o`)
  const files = patchFiles(flags.out, bases)
  const ids = patchIds(bases, flags)
  const outcomes = buildUpdate({ ...buildSettings(flags), before, after, bases: bases.map((base, i) => ({ base, id: ids[i] ?? '' })) })
  return answerFor(outcomes, files, () => makeFolder(flags.out))
}

interface Written {
  readonly file: string
  readonly size: number
  readonly report: BuildReport
}

/** Writes what was built. `files` are in the order of the outcomes. */
export function answerFor(outcomes: readonly BuildOutcome[], files: readonly string[], makeRoom: () => void, work?: string): Answer {
  const images = outcomes.flatMap((outcome, i) => (outcome.outcome === 'built' ? [{ ...outcome, file: files[i] ?? '' }] : []))
  const unchanged = outcomes.flatMap(({ outcome, report }) => (outcome === 'nothing' ? [report] : []))
  if (images.length > 0) {
    makeRoom()
    writePatches(images)
  }
  const [first, ...others] = images.map(({ file, image, report }): Written => ({ file, size: image.length, report }))
  if (first === undefined) {
    const report = unchanged[0] as BuildReport
    return done('nothing-to-patch', { report, work }, nothingWords(report))
  }
  return done(
    'built',
    {
      ...first,
      work,
      ...(others.length > 0 && { others }),
      ...(unchanged.length > 0 && { unchanged: unchanged.map(({ base }) => base.name) }),
    },
    [
      ...[first, ...others].flatMap(({ file, size, report }) => [...builtWords(file, size, report), '']),
      ...unchanged.map(({ base }) => `nothing of ${base.name} changes`),
    ],
  )
}
