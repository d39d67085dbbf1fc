/** Runs a project of vitest.config.ts and counts its tests from vitest's own JSON report. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { clone, workshop } from './places.ts'
import { SKIPS } from './skip-reporter.ts'

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** Where the reports of one run over everything are gathered; tests-total.ts adds them up. */
export const reports = join(workshop, 'test-reports')

/** The file beside a report that says why tests were skipped. */
export const skipsOf = (report: string): string => report.replace(/\.json$/, SKIPS_SUFFIX)
export const SKIPS_SUFFIX = '.skips.json'

/** Shows vitest's output. `good` is false when a test failed, when a file could not be loaded, or when nothing ran. */
export async function runVitest(
  node: string,
  project: string,
  report: string,
  filters: readonly string[] = [],
): Promise<Counts & { good: boolean }> {
  mkdirSync(reports, { recursive: true })
  const file = join(reports, `${report}.json`)
  rmSync(file, { force: true })
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`, '--reporter=./tools/skip-reporter.ts']
  const arguments_ = ['run', '--project', project, ...reporters, ...filters]
  const status = await shown(node, [join(clone, 'node_modules/vitest/vitest.mjs'), ...arguments_], { [SKIPS]: skipsOf(file) })
  const counts = countsOf(file)
  return { ...counts, good: status === 0 && counts.failed === 0 && counts.passed > 0 }
}

interface Suite {
  readonly name: string
  readonly status: string
  readonly message: string
  readonly assertionResults: readonly { status: string; fullName: string; failureMessages: readonly string[] }[]
}

/** A report that is missing counts as one failure: its runner died. */
export function countsOf(file: string): Counts {
  if (!existsSync(file)) return { passed: 0, failed: 1, skipped: 0 }
  const report = JSON.parse(readFileSync(file, 'utf8'))
  const unloaded = report.testResults.filter(neverRan).length
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloaded,
    skipped: report.numPendingTests + report.numTodoTests,
  }
}

/** Each test of a report that failed: its file, its name and the first lines of what was wrong. */
export function failuresOf(file: string): string[] {
  if (!existsSync(file)) return [`${file} is missing: its runner died`]
  const suites: Suite[] = JSON.parse(readFileSync(file, 'utf8')).testResults
  return suites.flatMap((suite) => {
    const told = (name: string, message: string) => `${relative(clone, suite.name)} > ${name}\n${excerpt(message)}`
    if (neverRan(suite)) return [told('(could not be loaded)', suite.message)]
    const failed = suite.assertionResults.filter(({ status }) => status === 'failed')
    return failed.map(({ fullName, failureMessages }) => told(fullName, failureMessages.join('\n')))
  })
}

const neverRan = (suite: Suite) => suite.status === 'failed' && suite.assertionResults.length === 0

const excerpt = (message: string) =>
  message
    .split('\n')
    .filter((line) => !line.includes('/node_modules/'))
    .slice(0, 8)
    .map((line) => `    ${line.slice(0, 300)}`)
    .join('\n')

/** Runs a program whose output goes to the terminal. Gives its exit code. */
export function shown(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: clone, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env } })
    child.on('error', reject)
    child.on('close', resolve)
  })
}
