/**
 * Tests on ARM64, in an emulated machine that is made on the first run and kept in the cache: one for Linux and beside it one for Windows, which is Wine with
 * Windows' own Node inside:
 *
 *   npm run test:arm64                          everything
 *   npm run test:arm64 -- --only TEXT           the tests whose name contains it
 *   npm run test:arm64 -- --suite conformance   these suites alone: conformance, files of test/arm64/suites.ts, windows-conformance
 *   npm run test:arm64 -- --minutes 40          how long each machine may run; without it 20 for Linux, 40 for Windows
 *
 * The host compiles, for the machine has no compiler: TypeScript to JavaScript, C with aarch64-linux-gnu-gcc and clang, patches with the builder.
 * Exit code 0 when every test has passed.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pc from 'picocolors'
import { FAULT_CASES } from '../../src/process/testing/call-cases.ts'
import { CONFORMANCE_CASES } from '../../src/process/testing/conformance.ts'
import { AT_ONCE, SUITES } from '../../test/arm64/suites.ts'
import { ensureImage, type Image } from './image.ts'
import { type Processors, startMachine } from './machine.ts'
import { makeLinuxScripts, makePrograms, PROGRAMS, writePayload } from './payload.ts'
import { type Counts, writeReport } from './report.ts'
import { ResultReader, type TestResult } from './results.ts'
import { makeWindowsPrograms, makeWindowsScripts, WINDOWS_SUITES, windowsScript } from './windows.ts'
import { ensureWindowsImage } from './windows-image.ts'

const CONFORMANCE = 'conformance'

/** A suite that must report. */
interface Expected {
  readonly name: string
  /** Its tests, where they are known beforehand. */
  readonly tests?: readonly string[]
}

/** One machine, its suites and its report. */
interface Lane {
  readonly report: string
  /** The machine is switched off then. */
  readonly minutes: number
  readonly processors: Processors
  readonly suites: readonly string[]
  image(log: (line: string) => void): Promise<Image>
  /** Compiles into a folder what the suites start. */
  make(folder: string): Promise<void>
  script(suites: readonly string[], only: string): string
  expected(suites: readonly string[]): readonly Expected[]
}

/**
 * The kernel's log has the kind of fault, its address and the registers of a program that dies of it; not where the program has a handler for the signal, and
 * Node.js has one for the sake of WebAssembly. It is shown behind the suite: in between it would cut results in two.
 */
const LOG_FAULTS = 'echo 1 > /proc/sys/debug/exception-trace'
const SHOW_FAULTS = 'busybox dmesg | tail -n 60'
const NODE = 'node --disable-wasm-trap-handler'

const LANES: readonly Lane[] = [
  {
    report: 'arm64-linux',
    minutes: 20,
    processors: 'in turns',
    suites: [CONFORMANCE, ...SUITES.map(({ file }) => file)],
    image: ensureImage,
    make: makeForLinux,
    script: linuxScript,
    expected: (suites) =>
      suites.flatMap((suite): Expected[] =>
        suite === CONFORMANCE
          ? PROGRAMS.map(({ what }) => ({ name: what, tests: namesOf(CONFORMANCE_CASES, FAULT_CASES) }))
          : [{ name: suite }],
      ),
  },
  {
    report: 'arm64-linux-at-once',
    minutes: 5,
    processors: 'at once',
    suites: AT_ONCE,
    image: ensureImage,
    make: makeForLinux,
    script: linuxScript,
    expected: (suites) => suites.map((name) => ({ name })),
  },
  {
    report: 'arm64-windows',
    minutes: 40,
    processors: 'in turns',
    suites: WINDOWS_SUITES.map(({ name }) => name),
    image: async (log) => ensureWindowsImage(await ensureImage(log), log),
    make: makeForWindows,
    script: (suites, only) => windowsScript(chosen(suites), only),
    expected: (suites) => chosen(suites).map(({ what, tests }) => ({ name: what, tests })),
  },
]

async function makeForLinux(folder: string): Promise<void> {
  mkdirSync(folder)
  await makeLinuxScripts(folder)
  await makePrograms(folder)
}

async function makeForWindows(folder: string): Promise<void> {
  mkdirSync(folder)
  await makeWindowsScripts(folder)
  await makeWindowsPrograms(folder)
}

const chosen = (suites: readonly string[]) => WINDOWS_SUITES.filter(({ name }) => suites.includes(name))
const namesOf = (...cases: readonly (readonly { readonly name: string }[])[]): string[] => cases.flat().map(({ name }) => name)

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
  // Made one after the other: parts of an image are those of another, too.
  for (const { lane } of wanted) await lane.image(log)
  const payloads = mkdtempSync(join(tmpdir(), 'hotpatch-arm64-'))
  try {
    const makes = [...new Set(wanted.map(({ lane }) => lane.make))]
    const folderOf = (make: Lane['make']): string => join(payloads, `${makes.indexOf(make)}`)
    await Promise.all(makes.map((make) => make(folderOf(make))))
    const ran = await Promise.all(wanted.map((one) => runLane(one, folderOf(one.lane.make))))
    return ran.every(({ good }) => good) && ran.some(({ passed }) => passed > 0) ? 0 : 1
  } finally {
    rmSync(payloads, { recursive: true, force: true })
  }
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

/** @param payload the folder that `make` has filled */
async function runLane({ lane, suites, only, seconds }: LaneRun, payload: string): Promise<Counts & { good: boolean }> {
  const reader = new ResultReader((line) => show(lane.report, line))
  const script = lane.script(suites, `'${only.replaceAll("'", `'\\''`)}'`)
  const options = { line: (text: string) => reader.read(text), timeoutSeconds: seconds, processors: lane.processors }
  const run = await startMachine(await lane.image(log), (cpio) => writePayload(cpio, payload, script), options).ended
  const expected = lane.expected(suites).map(({ name, tests = [] }) => ({ name, tests: tests.filter((test) => test.includes(only)) }))
  const counts = writeReport(
    lane.report,
    expected.map((suite) => reader.suite(suite)),
  )
  if (run.status === undefined) console.log(`the machine did not come to its end within ${seconds} s`)
  console.log(
    `${lane.report}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped; the machine ran for ${run.seconds.toFixed(0)} s`,
  )
  return { ...counts, good: counts.failed === 0 && run.status === 0 }
}

/** @param name quoted for the shell */
function linuxScript(suites: readonly string[], name: string): string {
  const run = '/hotpatch/payload/dist'
  const files = suites.filter((suite) => suite !== CONFORMANCE)
  const conformance = PROGRAMS.flatMap(({ file, what }) => [
    `echo '@suite ${what}'`,
    `${NODE} ${run}/src/process/testing/run-on-linux.js /hotpatch/payload/${file} ${name} || ${SHOW_FAULTS}`,
    "echo '@done'",
  ])
  return [
    LOG_FAULTS,
    'export HOTPATCH_BROUGHT=/hotpatch/payload/brought',
    'status=0',
    ...(files.length === 0
      ? []
      : [`${NODE} ${run}/test/arm64/run.js ${files.join(' ')} --only ${name} 2>&1 || { status=$?; ${SHOW_FAULTS}; }`]),
    ...(suites.includes(CONFORMANCE) ? conformance : []),
    'exit $status',
    '',
  ].join('\n')
}

/** Machines run side by side, so each line says whose it is. */
function show(lane: string, line: TestResult | string): void {
  const whose = pc.dim(`${lane.replace('arm64-', '')}:`)
  if (typeof line === 'string') {
    console.log(whose, line)
    return
  }
  const { name, status, why, milliseconds } = line
  const mark = { passed: pc.green('✔'), failed: pc.red('✘'), skipped: pc.yellow('↓') }[status]
  console.log(whose, `${mark} ${name} ${pc.dim(status === 'skipped' ? (why ?? '') : `${milliseconds} ms`)}`)
  if (status === 'failed' && why !== undefined) console.log(why)
}
