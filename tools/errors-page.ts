/** Writes docs/errors.md from the table in src/errors.ts: `npx tsx tools/errors-page.ts`. A test holds the two together. */
import { writeFileSync } from 'node:fs'
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

const entries = Object.entries(ERRORS)
const lines = [
  '# Errors',
  '',
  'Every error has a code, says what happened and what to do. With `--json` they are `error.code`, `error.what`, `error.detail` and',
  '`error.todo`; a refusal lists all its reasons in `error.facts.reasons`. This page is written by `npx tsx tools/errors-page.ts`.',
]
for (const [name, code] of Object.entries(Exit)) {
  const here = entries.filter(([, entry]) => entry.exit === name)
  if (here.length === 0) continue
  lines.push('', `## Exit code ${code}. ${TITLES[name as ExitName]}`)
  for (const [key, entry] of here.sort(([a], [b]) => (a < b ? -1 : 1)))
    lines.push('', `### \`${key}\` (exit ${code})`, '', `What happened: ${entry.what}.`, '', `What to do: ${entry.todo}.`)
}
writeFileSync(new URL('../docs/errors.md', import.meta.url), `${lines.join('\n')}\n`)
