/** What a run inside the machine came to, counted as vitest counts: tests-total.ts adds it to the rest. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CaseResult } from '../../src/process/testing/run-cases.ts'
import { reports } from '../vitest.ts'

export interface Suite {
  /** What is tested: `a static program`. */
  readonly name: string
  readonly cases: readonly string[]
  readonly results: ReadonlyMap<string, CaseResult>
}

/** Writes the report NAME.json. A case without a result has failed: its runner died. Gives the number of both. */
export function writeReport(name: string, suites: readonly Suite[]): { passed: number; failed: number } {
  const testResults = suites.map((suite) => {
    const assertionResults = suite.cases.map((title) => {
      const result = suite.results.get(title)
      const failure = result === undefined ? 'the case did not come to its end' : result.error
      return {
        ancestorTitles: [suite.name],
        title,
        status: failure === undefined ? 'passed' : 'failed',
        failureMessages: failure === undefined ? [] : [failure],
      }
    })
    const status = assertionResults.some((assertion) => assertion.status === 'failed') ? 'failed' : 'passed'
    return { name: suite.name, status, assertionResults }
  })
  const all = testResults.flatMap(({ assertionResults }) => assertionResults)
  const failed = all.filter(({ status }) => status === 'failed').length
  const passed = all.length - failed
  mkdirSync(reports, { recursive: true })
  const report = { numPassedTests: passed, numFailedTests: failed, numPendingTests: 0, numTodoTests: 0, testResults }
  writeFileSync(join(reports, `${name}.json`), `${JSON.stringify(report)}\n`)
  return { passed, failed }
}
