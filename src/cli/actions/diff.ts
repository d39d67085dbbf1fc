import { diffBuilds } from '../../builder/diff.ts'
import { REASONS, type Reason } from '../../builder/reasons.ts'
import type { DiffItem, DiffReport } from '../../builder/report.ts'
import { Exit } from '../../errors.ts'
import type { Answer } from '../answer.ts'
import { bad, dim, good, plural, strong, table } from '../words.ts'

/** `refused` is an answer here, not an error: the question was whether. The exit code says it all the same. */
export function diff(before: string, after: string, sourceDiff?: string, symbols?: readonly string[]): Answer {
  const report = diffBuilds(before, after, sourceDiff, symbols)
  return {
    outcome: report.outcome,
    exit: report.outcome === 'refused' ? Exit.refused : Exit.done,
    result: report,
    words: diffWords(report),
  }
}

export function diffWords(report: DiffReport): string[] {
  const { objects } = report
  const compared = `${plural(objects.after, 'object')} compared, ${objects.identical} identical.`
  const items = report.items.filter(({ kind }) => kind !== 'line-numbers')
  if (items.length === 0)
    return [compared, ...lineNumbers(report), 'Nothing differs that a process could notice.', ...noteLines(report.notes)]
  return [
    compared,
    '',
    ...table(
      [{ title: 'change' }, { title: 'kind' }, { title: 'name' }, { title: 'file' }, { title: 'size' }, { title: 'hotpatch' }],
      items.map(itemRow),
    ),
    ...reasonLines(items.flatMap(({ reasons }) => reasons)),
    '',
    ...lineNumbers(report),
    verdict(report),
    ...noteLines(report.notes),
  ]
}

/** More names than these are counted. */
const MOST_NAMES = 8

/** The functions that are no change, though their bytes differ. */
export function lineNumbers({ items }: DiffReport): string[] {
  const names = [...new Set(items.filter(({ kind }) => kind === 'line-numbers').map(({ name }) => name))]
  if (names.length === 0) return []
  const more = names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : ''
  return [
    `Only line numbers moved in ${plural(names.length, 'function')}, which no patch needs: ${names.slice(0, MOST_NAMES).join(', ')}${more}.`,
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
  outcome === 'patchable' || outcome === 'accepted'
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
