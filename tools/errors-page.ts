/** Writes docs/errors.md from the tables in src: `npx tsx tools/errors-page.ts`. A test holds page and tables together. */
import { writeFileSync } from 'node:fs'
import { REASONS } from '../src/builder/reasons.ts'
import { ERRORS, Exit, type ExitName } from '../src/errors.ts'

const TITLES: Readonly<Record<ExitName, string>> = {
  done: 'Done',
  defect: 'A defect of hotpatch',
  usage: 'Usage',
  refused: 'Refused: nothing was changed',
  busy: 'Busy: no safe moment before the deadline, nothing was changed',
  permission: 'No permission',
  badInput: 'Bad input',
}

const byName = <T>([a]: [string, T], [b]: [string, T]): number => (a < b ? -1 : 1)
const section = (heading: string, entry: { what: string; todo: string }): string[] => [
  '',
  `### ${heading}`,
  '',
  `What happened: ${entry.what}.`,
  '',
  `What to do: ${entry.todo}.`,
]

const lines = [
  '# Errors',
  '',
  'Every error has a code, says what happened and what to do. With `--json` they are `error.code`, `error.what`, `error.detail` and',
  '`error.todo`; a refusal lists all its reasons in `error.facts.reasons`. This page is written by `npx tsx tools/errors-page.ts`.',
]
for (const [name, code] of Object.entries(Exit)) {
  const here = Object.entries(ERRORS).filter(([, entry]) => entry.exit === name)
  if (here.length === 0) continue
  lines.push('', `## Exit code ${code}. ${TITLES[name as ExitName]}`)
  for (const [key, entry] of here.sort(byName)) lines.push(...section(`\`${key}\` (exit ${code})`, entry))
}

lines.push(
  '',
  '## Reasons',
  '',
  'Why `diff` and `build` hold a difference for one that cannot be hotpatched, or remark on it. They come with the symbol and the file.',
)
for (const [key, entry] of Object.entries(REASONS).sort(byName))
  lines.push(...section(`\`${key}\` (${entry.weight === 'refuse' ? 'refuses' : 'a remark'})`, entry))

writeFileSync(new URL('../docs/errors.md', import.meta.url), `${lines.join('\n')}\n`)
