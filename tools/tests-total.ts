/**
 * Prints, as the last line of CI, the sum over all test runs since `npm test` began; before it each test that failed, since
 * what its runner said of it has long scrolled by. Exit code 1 when a test failed or none ran.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { countsOf, failuresOf, reports, SKIPS_SUFFIX } from './vitest.ts'

const files = existsSync(reports)
  ? readdirSync(reports)
      .filter((name) => !name.endsWith(SKIPS_SUFFIX))
      .map((name) => join(reports, name))
  : []
const all = files.map(countsOf)
const sum = (key: 'passed' | 'failed' | 'skipped') => all.reduce((total, counts) => total + counts[key], 0)

for (const failure of files.flatMap(failuresOf)) process.stdout.write(`FAILED: ${failure}\n`)
process.stdout.write(`tests: ${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped\n`)
process.exitCode = sum('failed') > 0 || sum('passed') === 0 ? 1 : 0
