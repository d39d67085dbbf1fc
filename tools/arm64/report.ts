/** What a run inside the machine came to, as vitest reports it: tests-total.ts adds it to the rest, backend-health.ts tells of it. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { reports } from '../vitest.ts'
import type { SuiteRun, TestResult } from './results.ts'

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** Writes the report NAME.json. A test without a result, and a suite without an end, have failed: their runner died. */
export function writeReport(name: string, suites: readonly SuiteRun[]): Counts {
  const testResults = suites.map((suite) => {
    const results: TestResult[] = [
      ...suite.results.values(),
      ...suite.missing.map((test) => lost(test, 'the test did not come to its end')),
    ]
    if (!suite.ended) results.push(lost('(the suite)', 'it did not come to its end'))
    const assertionResults = results.map(({ name: title, status, why }) => ({
      ancestorTitles: [],
      fullName: title,
      title,
      status,
      failureMessages: status === 'failed' ? [why ?? ''] : [],
      meta: status === 'skipped' ? { why: why ?? '' } : {},
    }))
    const status = results.some((result) => result.status === 'failed') ? 'failed' : 'passed'
    return { name: suite.name, status, message: '', assertionResults }
  })
  const count = (status: string) => testResults.flatMap((suite) => suite.assertionResults).filter((one) => one.status === status).length
  const counts = { passed: count('passed'), failed: count('failed'), skipped: count('skipped') }
  mkdirSync(reports, { recursive: true })
  const numbers = { numPassedTests: counts.passed, numFailedTests: counts.failed, numPendingTests: counts.skipped, numTodoTests: 0 }
  writeFileSync(join(reports, `${name}.json`), `${JSON.stringify({ ...numbers, testResults })}\n`)
  return counts
}

const lost = (name: string, why: string): TestResult => ({ name, status: 'failed', why, milliseconds: 0 })
