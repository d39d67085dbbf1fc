/**
 * Tests on ARM64, in emulated machines whose images are made on the first run and kept in the cache: some of Linux, others of Windows, which is Wine with Windows' own Node inside:
 *
 *   npm run test:arm64                          everything, as many machines side by side as this one has processors, and memory for
 *   npm run test:arm64 -- --only TEXT           the tests whose name contains it
 *   npm run test:arm64 -- --suite conformance   these suites alone: conformance, files of test/arm64/suites.ts, windows-conformance, windows-cli, windows-engine
 *   npm run test:arm64 -- --minutes 40          how long each machine may run; without it 20 for Linux, 40 for Windows
 *
 * The host compiles, for the machines have no compiler: TypeScript to JavaScript, C with aarch64-linux-gnu-gcc and clang, patches with the builder. One machine of each system comes up with that, and its
 * checkpoint is kept: all others go on from there, in later runs too as long as nothing is changed that went in.
 * Exit code 0 when every test has passed.
 */
import { availableParallelism, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import limit from 'p-limit'
import pc from 'picocolors'
import { type Checkpoint, goOn } from './checkpoint.ts'
import { LANES, type Lane } from './lanes.ts'
import { writeReport } from './report.ts'
import { ResultReader, type SuiteRun, type TestResult } from './results.ts'
import { ensureCheckpoints } from './systems.ts'

const MEMORY_FOR_ONE = 3.5 * 2 ** 30

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', default: '' },
      suite: { type: 'string', multiple: true },
      minutes: { type: 'string' },
    },
  })
  const unknown = values.suite?.find((name) => !LANES.some(({ suites }) => suites.includes(name)))
  if (unknown !== undefined) throw new Error(`there is no suite ${unknown}: ${LANES.flatMap(({ suites }) => suites).join(' ')}`)
  const wanted = LANES.map((lane) => ({ lane, suites: lane.suites.filter((name) => values.suite?.includes(name) ?? true) }))
    .filter(({ suites }) => suites.length > 0)
    .map(({ lane, suites }) => ({ lane, suites, only: values.only, seconds: 60 * Number(values.minutes ?? lane.minutes) }))
  const checkpoints = await ensureCheckpoints(new Set(wanted.map(({ lane }) => lane.system)), log)
  const inTurn = limit(machinesAtOnce())
  const ran = await Promise.all(wanted.map((one) => inTurn(() => runLane(one, checkpoints.get(one.lane.system) as Checkpoint))))
  const counts = [...new Set(ran.map(({ report }) => report))].map((report) => told(report, ran))
  return counts.every(({ good }) => good) && counts.some(({ passed }) => passed > 0) ? 0 : 1
}

/** Each has one of this machine's processors at work, and up to 3 GB of its memory. */
function machinesAtOnce(): number {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(totalmem() / MEMORY_FOR_ONE)))
}

function log(line: string): void {
  console.log(`arm64: ${line}`)
}

interface LaneRun {
  readonly lane: Lane
  readonly suites: readonly string[]
  readonly only: string
  readonly seconds: number
}

interface Ran {
  readonly report: string
  readonly suites: readonly SuiteRun[]
  readonly status: number | undefined
  readonly seconds: number
}

async function runLane({ lane, suites, only, seconds }: LaneRun, checkpoint: Checkpoint): Promise<Ran> {
  const reader = new ResultReader((line) => show(lane.name, line))
  const script = lane.script(suites, `'${only.replaceAll("'", `'\\''`)}'`)
  const options = { line: (text: string) => reader.read(text), timeoutSeconds: seconds, processors: lane.processors }
  const run = await goOn(checkpoint, script, options).ended
  if (run.status === undefined) log(`${lane.name}: the machine did not come to its end within ${seconds} s`)
  log(`${lane.name}: the machine ran for ${run.seconds.toFixed(0)} s`)
  const expected = lane.expected(suites).map(({ name, tests = [] }) => ({ name, tests: tests.filter((test) => test.includes(only)) }))
  return { report: lane.report, suites: expected.map((suite) => reader.suite(suite)), ...run }
}

/** Writes the report of the machines that have this one. */
function told(report: string, ran: readonly Ran[]): { readonly passed: number; readonly good: boolean } {
  const mine = ran.filter((one) => one.report === report)
  const { passed, failed, skipped } = writeReport(
    report,
    mine.flatMap(({ suites }) => suites),
  )
  console.log(`${report}: ${passed} passed, ${failed} failed, ${skipped} skipped`)
  return { passed, good: failed === 0 && mine.every(({ status }) => status === 0) }
}

/** Machines run side by side, so each line says whose it is. */
function show(lane: string, line: TestResult | string): void {
  const whose = pc.dim(`${lane}:`)
  if (typeof line === 'string') {
    console.log(whose, line)
    return
  }
  const { name, status, why, milliseconds } = line
  const mark = { passed: pc.green('✔'), failed: pc.red('✘'), skipped: pc.yellow('↓') }[status]
  console.log(whose, `${mark} ${name} ${pc.dim(status === 'skipped' ? (why ?? '') : `${milliseconds} ms`)}`)
  if (status === 'failed' && why !== undefined) console.log(why)
}
