/**
 * docs/backend-health.md: which process backend passes what, on which system and processor, and why tests are left out.
 *
 *   npx tsx tools/backend-health.ts      takes the numbers over from the reports of the runs that there are, writes the page
 *
 * What the last runs came to is kept in docs/backend-health.json, so that a run on one processor does not forget another's.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { LEFT_OUT } from '../test/arm64/suites.ts'
import { clone } from './places.ts'
import type { Skips } from './skip-reporter.ts'
import { reports, skipsOf } from './vitest.ts'

interface Lane {
  readonly key: string
  readonly backend: string
  readonly system: string
  readonly processor: string
  /** How it is run. */
  readonly command: string
  /** Of tools/vitest.ts. */
  readonly report: string
  /** The report's files that belong to it, as paths in the clone. */
  readonly files: RegExp
}

export const LANES: readonly Lane[] = [
  {
    key: 'fake',
    backend: 'fake',
    system: 'none: a process made up in memory',
    processor: 'x64 and ARM64',
    command: 'npm test -- unit',
    report: 'unit',
    files: /^src\/(engine|process)\//,
  },
  {
    key: 'linux-x64',
    backend: 'linux',
    system: 'Linux',
    processor: 'x64',
    command: 'npm test -- live',
    report: 'live',
    files: /^test\/(engine|process)\/(?!.*(-pe|windows)\.test\.ts$)/,
  },
  {
    key: 'linux-arm64',
    backend: 'linux',
    system: 'Linux, in a machine that QEMU emulates',
    processor: 'ARM64',
    command: 'npm run test:arm64',
    report: 'arm64-linux',
    files: /./,
  },
  {
    key: 'linux-arm64-at-once',
    backend: 'linux',
    system: 'Linux, in a machine that QEMU emulates',
    processor: 'ARM64, both processors at once',
    command: 'npm run test:arm64',
    report: 'arm64-linux-at-once',
    files: /./,
  },
  {
    key: 'windows-x64',
    backend: 'windows',
    system: 'Wine',
    processor: 'x64',
    command: 'npm test -- live',
    report: 'live',
    files: /^test\/(engine|process)\/.*(-pe|windows)\.test\.ts$/,
  },
  {
    key: 'windows-arm64',
    backend: 'windows',
    system: 'Wine, in the machine that QEMU emulates',
    processor: 'ARM64',
    command: 'npm run test:arm64',
    report: 'arm64-windows',
    files: /./,
  },
]

interface SuiteHealth {
  readonly name: string
  readonly passed: number
  readonly failed: number
  /** Full names and reasons. */
  readonly skipped: Readonly<Record<string, string>>
}

/** By the key of a lane: what its last run came to. */
export type Health = Readonly<Record<string, readonly SuiteHealth[]>>

export const NO_REASON = 'a condition of its suite does not hold there'
const DATA = join(clone, 'docs/backend-health.json')
const PAGE = join(clone, 'docs/backend-health.md')

interface Report {
  readonly testResults: readonly {
    readonly name: string
    readonly assertionResults: readonly { status: string; fullName: string; meta?: { why?: string } }[]
  }[]
}

/** What the report of a lane says; undefined: there is none. */
function healthOf({ report, files }: Lane): readonly SuiteHealth[] | undefined {
  const file = join(reports, `${report}.json`)
  if (!existsSync(file)) return undefined
  const { testResults } = JSON.parse(readFileSync(file, 'utf8')) as Report
  const skips: Skips = existsSync(skipsOf(file)) ? JSON.parse(readFileSync(skipsOf(file), 'utf8')) : {}
  const suites = testResults.map(({ name, assertionResults }) => {
    const count = (status: string) => assertionResults.filter((one) => one.status === status).length
    const left = assertionResults.filter(({ status }) => status !== 'passed' && status !== 'failed')
    const why = ({ fullName, meta }: (typeof left)[number]) =>
      meta?.why || Object.entries(skips[name] ?? {}).find(([test]) => test.replaceAll(' > ', ' ') === fullName)?.[1] || NO_REASON
    const skipped = Object.fromEntries(left.map((one) => [one.fullName, why(one)]))
    return { name: name.startsWith('/') ? relative(clone, name) : name, passed: count('passed'), failed: count('failed'), skipped }
  })
  return suites.filter(({ name }) => files.test(name)).sort((a, b) => (a.name < b.name ? -1 : 1))
}

export function renderHealth(health: Health): string {
  const lines = [
    '# Which backend passes what',
    '',
    'Written by `npx tsx tools/backend-health.ts` from the reports of test runs; the numbers are those of the last run of each lane that was taken over.',
    '',
    '| backend | system | processor | passed | failed | skipped | run by |',
    '| --- | --- | --- | ---: | ---: | ---: | --- |',
    ...LANES.map((lane) => {
      const suites = health[lane.key]
      const counts = suites === undefined ? ['not run', '', ''] : totals(suites)
      return `| ${[lane.backend, lane.system, lane.processor, ...counts, `\`${lane.command}\``].join(' | ')} |`
    }),
  ]
  for (const lane of LANES) lines.push(...section(lane, health[lane.key] ?? []))
  lines.push('', '## Live tests that do not run on ARM64', '')
  lines.push(...LEFT_OUT.map(({ file, why }) => `- \`test/${file}.test.ts\`: ${why}`))
  return `${lines.join('\n')}\n`
}

function totals(suites: readonly SuiteHealth[]): string[] {
  const sum = (count: (suite: SuiteHealth) => number) => String(suites.reduce((total, suite) => total + count(suite), 0))
  return [sum(({ passed }) => passed), sum(({ failed }) => failed), sum(({ skipped }) => Object.keys(skipped).length)]
}

function section(lane: Lane, suites: readonly SuiteHealth[]): string[] {
  if (suites.length === 0) return []
  const title = `## ${lane.backend}, ${lane.processor}`
  const rows = suites.map(({ name, passed, failed, skipped }) => `| ${name} | ${passed} | ${failed} | ${Object.keys(skipped).length} |`)
  const skips = suites.flatMap(({ name, skipped }) => byReason(name, skipped))
  const told = skips.length === 0 ? [] : ['', 'Skipped:', '', ...skips]
  return ['', title, '', '| suite | passed | failed | skipped |', '| --- | ---: | ---: | ---: |', ...rows, ...told]
}

/** One line for all tests of a suite that are skipped for the same reason. */
function byReason(suite: string, skipped: Readonly<Record<string, string>>): string[] {
  const reasons = new Map<string, string[]>()
  for (const [test, why] of Object.entries(skipped)) reasons.set(why, [...(reasons.get(why) ?? []), test])
  return [...reasons].map(([why, tests]) =>
    tests.length > 3 ? `- ${suite}, ${tests.length} tests: ${why}` : `- ${suite}, ${tests.map((test) => `“${test}”`).join(', ')}: ${why}`,
  )
}

export const readHealth = (): Health => JSON.parse(readFileSync(DATA, 'utf8')) as Health
export const readPage = (): string => readFileSync(PAGE, 'utf8')

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const before = existsSync(DATA) ? readHealth() : {}
  const health = Object.fromEntries(
    LANES.flatMap((lane) => {
      const now = healthOf(lane) ?? []
      // A run of some suites leaves what is known of the others as it is.
      const others = (before[lane.key] ?? []).filter(({ name }) => !now.some((suite) => suite.name === name))
      const suites = [...others, ...now].sort((a, b) => (a.name < b.name ? -1 : 1))
      return suites.length === 0 ? [] : [[lane.key, suites]]
    }),
  )
  writeFileSync(DATA, `${JSON.stringify(health, undefined, 2)}\n`)
  writeFileSync(PAGE, renderHealth(health))
}
