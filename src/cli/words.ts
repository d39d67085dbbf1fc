/** Words for a person: tables, addresses, errors. Colours only where the stream shows them (picocolors decides). */
import picocolors from 'picocolors'
import { ERRORS, type HotpatchError } from '../errors.ts'

// On Windows picocolors would colour what goes into files and pipes, too.
const colors = picocolors.createColors(picocolors.isColorSupported && (process.stdout.isTTY === true || 'FORCE_COLOR' in process.env))

export const hex = (value: number | bigint, digits = 0): string => `0x${value.toString(16).padStart(digits, '0')}`

export const good = colors.green
export const bad = colors.red
export const dim = colors.dim
export const strong = colors.bold

export const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
}

/** Rows under their titles, as wide as the widest cell; the last column is not padded. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], indent = '  '): string[] {
  const widths = columns.map((column, i) => Math.max(column.title.length, ...rows.map((row) => visible(row[i] ?? ''))))
  const line = (cells: readonly string[]) =>
    indent +
    columns
      .map((column, i) => pad(cells[i] ?? '', widths[i] ?? 0, column.align ?? 'left', i === columns.length - 1))
      .join('  ')
      .trimEnd()
  return [dim(line(columns.map((column) => column.title))), ...rows.map(line)]
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour sequences begin with ESC
const COLOUR = /\u001b\[[0-9;]*m/g
const visible = (text: string): number => text.replace(COLOUR, '').length

function pad(text: string, width: number, align: 'left' | 'right', last: boolean): string {
  const room = ' '.repeat(Math.max(0, width - visible(text)))
  if (align === 'right') return room + text
  return last ? text : text + room
}

/** Code, what happened here, and what to do. */
export function errorLines(error: HotpatchError): string[] {
  const { what, todo } = ERRORS[error.code]
  return [`${bad(`hotpatch: ${error.code}`)}: ${what}`, `  ${error.detail}`, ...reasonLines(error), `  ${dim('→')} ${todo}`]
}

interface Reason {
  readonly code: string
  readonly symbol?: string
  readonly detail: string
  readonly todo?: string
}

/** A refusal carries all its reasons in `facts.reasons`. */
function reasonLines(error: HotpatchError): string[] {
  const reasons = error.facts.reasons
  if (!Array.isArray(reasons)) return []
  return (reasons as Reason[]).flatMap((reason) => [
    `  - ${reason.code}${reason.symbol ? ` ${strong(reason.symbol)}` : ''}: ${reason.detail}`,
    ...(reason.todo ? [`    ${dim('→')} ${reason.todo}`] : []),
  ])
}
