/** What came of a command on many processes, as one answer: each process its own outcome, the gravest one for the whole. */
import type { Reached, ReachedEverywhere } from '../../engine/everywhere.ts'
import { Exit, HotpatchError } from '../../errors.ts'
import type { Answer } from '../answer.ts'
import { jsonError } from '../answer.ts'
import { bad, dim, good, plural, strong, table } from '../words.ts'

interface Report {
  readonly outcome: string
}

interface Manner<T> {
  /** Outcomes that a report may have, the one that tells most of the whole first. */
  readonly outcomes: readonly string[]
  /** Those that are not well. */
  readonly refused?: readonly string[]
  /** For a person, about one process, in a line. */
  particulars(report: T): string
}

/** The gravest first: what is exit 4 may come right by itself. */
const BY_WEIGHT = [Exit.defect, Exit.badInput, Exit.refused, Exit.permission, Exit.busy, Exit.done]

/**
 * Throws PERMISSION_DENIED where no process was found, and some could not be looked at for want of permission: then it is not known whether
 * there is nothing to do.
 */
export function answerEverywhere<T extends Report>(came: ReachedEverywhere<T>, manner: Manner<T>): Answer {
  const { reached, asides, looked, unreadable } = came
  if (reached.length === 0 && unreadable.PERMISSION_DENIED !== undefined) throw denied(looked, unreadable)
  const processes = reached.map((process) => told(process, manner))
  const counts: Record<string, number> = {}
  for (const { outcome } of processes) counts[outcome] = (counts[outcome] ?? 0) + 1
  return {
    outcome: ['failed', ...manner.outcomes].find((outcome) => counts[outcome] !== undefined) ?? 'nothing-found',
    exit: BY_WEIGHT.find((code) => processes.some(({ exit }) => exit === code)) ?? Exit.done,
    result: { processes: processes.map(({ words, ...process }) => process), counts, asides, looked, unreadable },
    words: [
      ...(processes.length === 0 ? ['No process was found that this concerns.'] : processTable(processes)),
      ...asides.map(({ pid, name, detail }) => `  ${bad('left alone')} ${pid} ${strong(name)}: ${detail}`),
      [...Object.entries(counts).map(([outcome, count]) => `${count} ${outcome}`), dim(lookedAt(looked, unreadable))].join(', '),
    ],
  }
}

interface Told {
  readonly pid: number
  readonly name: string
  readonly outcome: string
  readonly exit: number
  readonly words: string
}

function told<T extends Report>({ pid, name, came }: Reached<T>, { refused = [], particulars }: Manner<T>): Told {
  if (came.kind === 'gone') return { pid, name, outcome: 'gone', exit: Exit.done, words: 'it ended meanwhile' }
  if (came.kind === 'failed') {
    const { exit, code, detail, todo } = came.error
    return { pid, name, outcome: 'failed', exit, ...{ error: jsonError(came.error) }, words: `${code}: ${detail} ${dim(`→ ${todo}`)}` }
  }
  const { outcome } = came.report
  const exit = refused.includes(outcome) ? Exit.refused : Exit.done
  return { pid, name, outcome, exit, ...{ report: came.report }, words: particulars(came.report) }
}

const processTable = (processes: readonly Told[]): string[] =>
  table(
    [{ title: 'pid', align: 'right' }, { title: 'process' }, { title: 'outcome' }, { title: '' }],
    processes.map(({ pid, name, outcome, exit, words }) => [
      String(pid),
      strong(name),
      exit === Exit.done ? good(outcome) : bad(outcome),
      words,
    ]),
  )

const denied = (looked: number, unreadable: Readonly<Record<string, number>>): HotpatchError =>
  new HotpatchError('PERMISSION_DENIED', `no process was found that this concerns: ${lookedAt(looked, unreadable)}`, {
    facts: { looked, unreadable },
  })

/** `7 processes looked at, 3 not (PERMISSION_DENIED)` */
export const lookedAt = (looked: number, unreadable: Readonly<Record<string, number>>): string =>
  [
    plural(looked, 'process looked at', 'processes looked at'),
    ...Object.entries(unreadable).map(([code, count]) => `${count} not (${code})`),
  ].join(', ')
