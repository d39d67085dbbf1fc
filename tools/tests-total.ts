/** Prints, as the last line of CI, the sum over all test runs since `npm test` began. Exit code 1 when a test failed or none ran. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { countsOf, reports } from './vitest.ts'

const all = existsSync(reports) ? readdirSync(reports).map((name) => countsOf(join(reports, name))) : []
const sum = (key: 'passed' | 'failed' | 'skipped') => all.reduce((total, counts) => total + counts[key], 0)

process.stdout.write(`tests: ${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped\n`)
process.exitCode = sum('failed') > 0 || sum('passed') === 0 ? 1 : 0
