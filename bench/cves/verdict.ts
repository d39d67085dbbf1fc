/** What came of an entry against what the corpus expects of it. */
import type { CorpusEntry } from './corpus.ts'
import type { Trial } from './trial.ts'

export type Verdict =
  | 'as-expected'
  /** Refused, or failed, where a patch was to be expected. */
  | 'missed'
  /** Patched where the corpus says that it must be refused: the worst there is. */
  | 'wrong-accept'

/** Entries that are to be refused and are accepted with a proof: by a rule of docs/layout-rules.md, or as README.md shows for the one fix. */
export const PROVEN: Readonly<Record<string, string>> = { 'jq--CVE-2026-44777': 'frames-only', 'libxml2--CVE-2025-7425': 'README.md' }

export function verdict(entry: Pick<CorpusEntry, 'id' | 'expected' | 'functions'>, { outcome }: Pick<Trial, 'outcome'>): Verdict {
  const { id, expected, functions } = entry
  if (expected === 'refuse')
    return outcome === 'refused' || Object.hasOwn(PROVEN, id) ? 'as-expected' : outcome === 'failed' ? 'missed' : 'wrong-accept'
  // That nothing is to be done is right only where the fix changes no function: else its objects were not looked at.
  return outcome === 'patched' || (outcome === 'nothing' && functions.changed_n === 0) ? 'as-expected' : 'missed'
}

export interface Totals {
  readonly patchable: number
  readonly patched: number
  readonly toBeRefused: number
  readonly refused: number
  readonly wrongAccepts: number
}

export function totals(tried: readonly (readonly [CorpusEntry, Trial])[]): Totals {
  const count = (test: (entry: CorpusEntry, trial: Trial) => boolean) => tried.filter(([entry, trial]) => test(entry, trial)).length
  return {
    patchable: count(({ expected }) => expected === 'patchable'),
    patched: count((entry, trial) => entry.expected === 'patchable' && verdict(entry, trial) === 'as-expected'),
    toBeRefused: count(({ expected }) => expected === 'refuse'),
    refused: count((entry, trial) => entry.expected === 'refuse' && verdict(entry, trial) === 'as-expected'),
    wrongAccepts: count((entry, trial) => verdict(entry, trial) === 'wrong-accept'),
  }
}
