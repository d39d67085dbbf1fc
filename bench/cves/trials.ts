/** Many entries, tried one after the other, and what came of them. */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pc from 'picocolors'
import { say, table } from '../../tools/paper.ts'
import { clone } from '../../tools/places.ts'
import { type CorpusEntry, corpus, entryOf } from './corpus.ts'
import { DOZEN } from './dozen.ts'
import { home, outputOf } from './places.ts'
import type { TargetName } from './targets.ts'
import { productAge, type Trial, tryEntry } from './trial.ts'
import { totals, verdict } from './verdict.ts'

export interface Wanted {
  readonly targets: readonly TargetName[]
  readonly package?: string | undefined
  readonly id?: string | undefined
}

/** At least this part of the entries that are to be expected must be patched. */
const PATCHED_AT_LEAST = 0.97

export const dozen = (): [CorpusEntry, TargetName][] => DOZEN.map(([id, target]) => [entryOf(id), target])

export function selected({ targets, package: name, id }: Wanted): [CorpusEntry, TargetName][] {
  const entries = corpus.filter((entry) => (name === undefined || entry.package === name) && (id === undefined || entry.id === id))
  return targets.flatMap((target) =>
    entries.filter((entry) => entry.targets.includes(target)).map((entry): [CorpusEntry, TargetName] => [entry, target]),
  )
}

/** Tries all and prints a table, or JSON. Whether everything came out as it must. */
export async function tryAll(wanted: readonly (readonly [CorpusEntry, TargetName])[], json: boolean): Promise<boolean> {
  const tried: [CorpusEntry, Trial][] = []
  for (const [entry, target] of wanted) {
    const trial = await known(entry, target)
    tried.push([entry, trial])
    if (!json) say(progress(entry, trial))
  }
  const sums = totals(tried)
  if (json)
    say(
      JSON.stringify(
        { totals: sums, trials: tried.map(([entry, trial]) => ({ ...trial, expected: entry.expected, verdict: verdict(entry, trial) })) },
        null,
        2,
      ),
    )
  else {
    say()
    for (const line of table(
      COLUMNS,
      tried.map(([entry, trial]) => row(entry, trial)),
    ))
      say(line)
    say(
      `\npatched ${sums.patched} of ${sums.patchable} patchable entries, refused ${sums.refused} of ${sums.toBeRefused} to be refused, ${sums.wrongAccepts} wrongly accepted`,
    )
  }
  return sums.wrongAccepts === 0 && sums.refused === sums.toBeRefused && sums.patched >= sums.patchable * PATCHED_AT_LEAST
}

const COLUMNS = [
  { title: 'entry', align: 'left' },
  { title: 'target', align: 'left' },
  { title: 'expected', align: 'left' },
  { title: 'outcome', align: 'left' },
  { title: 'functions', align: 'right' },
  { title: '', align: 'left' },
] as const

const short = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most - 1)}…`)

function row(entry: CorpusEntry, trial: Trial) {
  const good = verdict(entry, trial) === 'as-expected'
  return [
    { plain: short(entry.id, 48) },
    { plain: trial.target },
    { plain: entry.expected },
    { plain: trial.outcome, paint: good ? pc.green : pc.red },
    { plain: trial.functions.length === 0 ? '' : `${trial.functions.length}` },
    {
      plain: short(
        [...trial.reasons, trial.detail]
          .filter((text) => text !== '')
          .join('; ')
          .replaceAll('\n', ' '),
        90,
      ),
      paint: pc.dim,
    },
  ]
}

const progress = (entry: CorpusEntry, trial: Trial): string =>
  `  ${verdict(entry, trial) === 'as-expected' ? pc.green('✔') : pc.red('✘')} ${entry.id} ${trial.target}: ${trial.outcome}`

/** What came of it the last time, if neither its builds nor hotpatch are others since. */
async function known(entry: CorpusEntry, target: TargetName): Promise<Trial> {
  const folder = join(home(), 'trials')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${entry.id}.${target}.json`)
  const kept = parsed(file)
  if (kept !== undefined && kept.key === keyOf(entry, target)) return kept.trial
  const trial = await tryEntry(entry, target)
  if (trial.outcome !== 'failed') writeFileSync(file, JSON.stringify({ key: keyOf(entry, target), trial }))
  return trial
}

/** Of the record of the builds, and of the product. */
function keyOf({ id }: CorpusEntry, target: TargetName): string {
  const hash = createHash('sha256').update(`${productAge(join(clone, 'dist'))}\n`)
  return hash.update(contentOf(join(outputOf(id, target), 'built.json')) ?? '').digest('hex')
}

function parsed(file: string): { key: string; trial: Trial } | undefined {
  const text = contentOf(file)
  return text === undefined ? undefined : JSON.parse(text)
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
