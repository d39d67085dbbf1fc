/**
 * Tests on ARM64, in an emulated machine that is made on the first run and kept in the cache. Linux first, once more for what has to do with SVE, then Windows, which is Wine in the same
 * machine with Windows' own Node inside:
 *
 *   npm run test:arm64                          everything
 *   npm run test:arm64 -- --only TEXT           the tests whose name contains it
 *   npm run test:arm64 -- --suite conformance   these suites alone: conformance, files of test/arm64/suites.ts, windows-conformance
 *   npm run test:arm64 -- --minutes 40          how long each machine may run; without it 15 for Linux, 5 with SVE, 40 for Windows
 *
 * The host compiles, for the machine has no compiler: TypeScript to JavaScript, C with aarch64-linux-gnu-gcc and clang, patches with the builder.
 * Exit code 0 when every test has passed.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pc from 'picocolors'
import { FAULT_CASES } from '../../src/process/testing/call-cases.ts'
import { CONFORMANCE_CASES } from '../../src/process/testing/conformance.ts'
import { SUITES, WITH_SVE } from '../../test/arm64/suites.ts'
import { ensureImage, type Image } from './image.ts'
import { type Processor, startMachine } from './machine.ts'
import { makePrograms, makeScripts, PROGRAMS, writePayload } from './payload.ts'
import { type Counts, writeReport } from './report.ts'
import { ResultReader, type TestResult } from './results.ts'
import { makeWindowsPrograms, WINDOWS_SUITES, windowsScript } from './windows.ts'
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
  readonly processor: Processor
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
    minutes: 15,
    processor: 'plain',
    suites: [CONFORMANCE, ...SUITES.map(({ file }) => file)],
    image: ensureImage,
    make: makePrograms,
    script: linuxScript,
    expected: (suites) =>
      suites.flatMap((suite): Expected[] =>
        suite === CONFORMANCE
          ? PROGRAMS.map(({ what }) => ({ name: what, tests: namesOf(CONFORMANCE_CASES, FAULT_CASES) }))
          : [{ name: suite }],
      ),
  },
  {
    report: 'arm64-linux-sve',
    minutes: 5,
    processor: 'sve',
    suites: WITH_SVE,
    image: ensureImage,
    make: makePrograms,
    script: linuxScript,
    expected: (suites) => suites.map((name) => ({ name })),
  },
  {
    report: 'arm64-windows',
    minutes: 40,
    processor: 'plain',
    suites: WINDOWS_SUITES.map(({ name }) => name),
    image: async (log) => ensureWindowsImage(await ensureImage(log), log),
    make: makeWindowsPrograms,
    script: (suites, only) => windowsScript(chosen(suites), only),
    expected: (suites) => chosen(suites).map(({ what, tests }) => ({ name: what, tests })),
  },
]

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
  let good = true
  let passed = 0
  for (const lane of LANES) {
    const suites = lane.suites.filter((name) => values.suite?.includes(name) ?? true)
    if (suites.length === 0) continue
    const counts = await runLane(lane, suites, values.only, 60 * Number(values.minutes ?? lane.minutes))
    good &&= counts.good
    passed += counts.passed
  }
  return good && passed > 0 ? 0 : 1
}

async function runLane(lane: Lane, suites: readonly string[], only: string, seconds: number): Promise<Counts & { good: boolean }> {
  const image = await lane.image((line) => console.log(`arm64: ${line}`))
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-arm64-'))
  try {
    await makeScripts(folder)
    await lane.make(folder)
    const reader = new ResultReader(show)
    const script = lane.script(suites, `'${only.replaceAll("'", `'\\''`)}'`)
    const options = { line: (text: string) => reader.read(text), timeoutSeconds: seconds, processor: lane.processor }
    const run = await startMachine(image, (cpio) => writePayload(cpio, folder, script), options).ended
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
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
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

function show(line: TestResult | string): void {
  if (typeof line === 'string') {
    console.log(line)
    return
  }
  const { name, status, why, milliseconds } = line
  const mark = { passed: pc.green('✔'), failed: pc.red('✘'), skipped: pc.yellow('↓') }[status]
  console.log(`${mark} ${name} ${pc.dim(status === 'skipped' ? (why ?? '') : `${milliseconds} ms`)}`)
  if (status === 'failed' && why !== undefined) console.log(why)
}
