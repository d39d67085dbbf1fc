import { basename, extname } from 'node:path'
import type { Acceptance } from '../../builder/acceptances.ts'
import { type BuildOptions, buildPatch } from '../../builder/build.ts'
import type { BuildReport } from '../../builder/report.ts'
import { HotpatchError } from '../../errors.ts'
import { writeOutput } from '../../files.ts'
import { type Answer, done, type JsonFlag } from '../answer.ts'
import { dim, good, hex, plural, strong, table } from '../words.ts'
import { acceptedLines } from './accepted.ts'
import { lineNumbers, noteLines, reasonLines } from './diff.ts'
import { ownImportLines } from './imports.ts'

export interface BuildFlags extends JsonFlag {
  readonly before?: string
  readonly after?: string
  readonly base?: readonly string[]
  readonly source?: string
  readonly diff?: string
  readonly strip?: number
  readonly work?: string
  readonly sourceDiff?: string
  readonly symbols?: readonly string[]
  readonly accept?: readonly Acceptance[]
  readonly library?: readonly string[]
  readonly out: string
  readonly sequence: number
  readonly id?: string
  readonly description: string
  readonly cve?: readonly string[]
}

/** What a patch is made of. */
export interface BuildInputs {
  readonly before: string
  readonly after: string
  readonly base: string
}

/** From two builds that are there, for one base image. Throws USAGE, and what buildPatch throws. */
export function build(flags: BuildFlags): Answer {
  const { before, after, bases } = givenInputs(flags)
  const [base = ''] = bases
  const built = buildPatch(optionsFor({ before, after, base }, flags))
  if (built.outcome === 'nothing') return done('nothing-to-patch', { report: built.report }, nothingWords(built.report))
  const { image, report } = built
  writeOutput(flags.out, image)
  return done('built', { file: flags.out, size: image.length, report }, builtWords(flags.out, image.length, report))
}

/** Throws USAGE. */
export function givenInputs({
  before,
  after,
  base = [],
  diff,
}: BuildFlags): Omit<BuildInputs, 'base'> & { readonly bases: readonly string[] } {
  if (diff !== undefined) throw new HotpatchError('USAGE', '--diff goes with --source')
  if (before === undefined || after === undefined || base.length === 0)
    throw new HotpatchError('USAGE', 'give --before, --after and --base, or --source and --diff with the build command behind --')
  return { before, after, bases: base }
}

export const optionsFor = (inputs: BuildInputs, flags: BuildFlags): BuildOptions => ({
  ...buildSettings(flags),
  ...inputs,
  id: flags.id ?? defaultId(inputs.base, flags.sequence),
})

/** What holds for every patch image of a call. */
export const buildSettings = (flags: BuildFlags) => ({
  // Where the builds were made from it, the fix is known.
  sourceDiff: flags.sourceDiff ?? flags.diff,
  symbols: flags.symbols ?? [],
  accept: flags.accept ?? [],
  libraries: flags.library ?? [],
  sequence: flags.sequence,
  description: flags.description,
  cves: flags.cve ?? [],
})

/** Of several patches: a process may carry all of them, so each has an id of its own. */
export function patchIds(bases: readonly string[], { id, sequence }: BuildFlags): string[] {
  const short = bases.map((base) => (id === undefined ? defaultId(base, sequence) : `${id}.${stem(base)}`.slice(0, 64)))
  return short.map((one, i) => (short.indexOf(one) === i ? one : `${one.slice(0, 60)}-${i + 1}`))
}

export const nothingWords = (report: BuildReport): string[] => [
  'Nothing to patch: the base image would behave the same.',
  ...lineNumbers(report.diff),
  ...reasonLines(report.remarks),
  ...noteLines([...report.notes, ...report.diff.notes]),
]

const defaultId = (base: string, sequence: number): string => `${stem(base)}-${sequence}`

const stem = (base: string): string =>
  basename(base, extname(base))
    .replace(/^[^A-Za-z0-9]+/, '')
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 48) || 'patch'

export function builtWords(file: string, size: number, report: BuildReport): string[] {
  return [
    `${good('built')} ${strong(file)}, ${plural(size, 'byte')}: patch ${report.id}, sequence ${report.sequence}, for ${report.base.name}`,
    '',
    ...table(
      [{ title: 'function' }, { title: 'file' }, { title: 'RVA', align: 'right' }, { title: 'size' }, { title: 'redirect' }],
      report.functions.map((f) => [strong(f.name), f.file, hex(f.rva), `${f.sizeBefore} → ${f.sizeAfter}`, f.redirect]),
    ),
    ...(report.added.length > 0
      ? ['', `  new: ${report.added.map(({ name, kind, size: bytes }) => `${name} (${kind}, ${bytes})`).join(', ')}`]
      : []),
    ...(report.imports.length > 0
      ? [`  reached through the base image's import slots: ${report.imports.map(({ name }) => name).join(', ')}`]
      : []),
    ...lineNumbers(report.diff).map((line) => `  ${line}`),
    ...acceptedLines(report.accepted),
    ...ownImportLines(report.ownImports),
    ...reasonLines(report.remarks),
    ...noteLines([...report.notes, ...report.diff.notes]),
    dim(`  base image: ${report.base.buildId ? `build id ${report.base.buildId}` : `text ${report.base.textSha256}`}`),
    ...(report.base.symbols ? [dim(`  its symbols: ${report.base.symbols}`)] : []),
  ]
}
