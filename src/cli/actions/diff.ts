import { diffBuilds } from '../../builder/diff.ts'
import { REASONS, type Reason } from '../../builder/reasons.ts'
import type { DiffItem, DiffReport } from '../../builder/report.ts'
import { Exit } from '../../errors.ts'
import type { Answer } from '../answer.ts'
import { bad, dim, good, plural, strong, table } from '../words.ts'

/** `refused` is an answer here, not an error: the question was whether. The exit code says it all the same. */
export function diff(before: string, after: string): Answer {
  const report = diffBuilds(before, after)
  return {
    outcome: report.outcome,
    exit: report.outcome === 'refused' ? Exit.refused : Exit.done,
    result: report,
    words: diffWords(report),
  }
}

export function diffWords(report: DiffReport): string[] {
  const { objects, items } = report
  const compared = `${plural(objects.after, 'object')} compared, ${objects.identical} identical.`
  if (items.length === 0) return [compared, 'Nothing differs that a process could notice.', ...noteLines(report.notes)]
  return [
    compared,
    '',
    ...table(
      [{ title: 'change' }, { title: 'kind' }, { title: 'name' }, { title: 'file' }, { title: 'size' }, { title: 'hotpatch' }],
      items.map(itemRow),
    ),
    ...reasonLines(items.flatMap(({ reasons }) => reasons)),
    '',
    verdict(report),
    ...noteLines(report.notes),
  ]
}

const itemRow = (item: DiffItem): string[] => [
  item.change,
  item.kind,
  strong(item.name),
  item.file,
  item.sizeBefore === item.sizeAfter ? `${item.sizeAfter ?? ''}` : `${item.sizeBefore ?? '-'} → ${item.sizeAfter ?? '-'}`,
  item.patchable ? good('yes') : bad('no'),
]

const verdict = ({ outcome, items }: DiffReport): string =>
  outcome === 'patchable'
    ? good('This can be hotpatched.')
    : outcome === 'same'
      ? 'Nothing needs a patch.'
      : bad(`This cannot be hotpatched as it is: ${plural(items.filter(({ patchable }) => !patchable).length, 'difference')} in the way.`)

/** Each reason with what to do, the advice once per code. */
export function reasonLines(reasons: readonly Reason[]): string[] {
  if (reasons.length === 0) return []
  const codes = [...new Set(reasons.map(({ code }) => code))]
  return [
    '',
    ...codes.flatMap((code) => [
      `  ${strong(code)}: ${REASONS[code].what}`,
      ...reasons.filter((reason) => reason.code === code).map(({ symbol, file, detail }) => `    ${symbol} (${file}): ${detail}`),
      `    ${dim('→')} ${REASONS[code].todo}`,
    ]),
  ]
}

export const noteLines = (notes: readonly string[]): string[] => notes.map((text) => dim(`note: ${text}`))
