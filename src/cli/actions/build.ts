import { basename, extname } from 'node:path'
import { buildPatch } from '../../builder/build.ts'
import type { BuildReport } from '../../builder/report.ts'
import { writeOutput } from '../../files.ts'
import { type Answer, done, type JsonFlag } from '../answer.ts'
import { dim, good, hex, plural, strong, table } from '../words.ts'
import { lineNumbers, noteLines, reasonLines } from './diff.ts'

export interface BuildFlags extends JsonFlag {
  readonly before: string
  readonly after: string
  readonly base: string
  readonly symbols?: readonly string[]
  readonly out: string
  readonly sequence: number
  readonly id?: string
  readonly description: string
  readonly cve?: readonly string[]
}

export function build(flags: BuildFlags): Answer {
  const built = buildPatch({
    before: flags.before,
    after: flags.after,
    base: flags.base,
    symbols: flags.symbols ?? [],
    sequence: flags.sequence,
    id: flags.id ?? defaultId(flags.base, flags.sequence),
    description: flags.description,
    cves: flags.cve ?? [],
  })
  if (built.outcome === 'nothing')
    return done('nothing-to-patch', { report: built.report }, [
      'Nothing to patch: the base image would behave the same.',
      ...lineNumbers(built.report.diff),
      ...reasonLines(built.report.remarks),
      ...noteLines([...built.report.notes, ...built.report.diff.notes]),
    ])
  writeOutput(flags.out, built.image)
  return done(
    'built',
    { file: flags.out, size: built.image.length, report: built.report },
    words(flags.out, built.image.length, built.report),
  )
}

const defaultId = (base: string, sequence: number): string =>
  `${
    basename(base, extname(base))
      .replace(/^[^A-Za-z0-9]+/, '')
      .replace(/[^A-Za-z0-9._-]/g, '-')
      .slice(0, 48) || 'patch'
  }-${sequence}`

function words(file: string, size: number, report: BuildReport): string[] {
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
    ...reasonLines(report.remarks),
    ...noteLines([...report.notes, ...report.diff.notes]),
    dim(`  base image: ${report.base.buildId ? `build id ${report.base.buildId}` : `text ${report.base.textSha256}`}`),
    ...(report.base.symbols ? [dim(`  its symbols: ${report.base.symbols}`)] : []),
  ]
}
