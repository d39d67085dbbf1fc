/**
 * Tests on ARM64, in an emulated machine that is made on the first run and kept in the cache:
 *
 *   npm run test:arm64                          everything
 *   npm run test:arm64 -- --only TEXT           the tests whose name contains it
 *   npm run test:arm64 -- --suite conformance   these suites alone: conformance, files of test/arm64/suites.ts
 *   npm run test:arm64 -- --minutes 20          how long the machine may run; 10 without it
 *
 * The host compiles, for the machine has no compiler: TypeScript to JavaScript, C with aarch64-linux-gnu-gcc, patches with the builder.
 * Exit code 0 when every test has passed.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pc from 'picocolors'
import { FAULT_CASES } from '../../src/process/testing/call-cases.ts'
import { CONFORMANCE_CASES } from '../../src/process/testing/conformance.ts'
import { SUITES } from '../../test/arm64/suites.ts'
import { ensureImage } from './image.ts'
import { startMachine } from './machine.ts'
import { makePayload, PROGRAMS, writePayload } from './payload.ts'
import { writeReport } from './report.ts'
import { ResultReader, type TestResult } from './results.ts'

/** The machine is switched off then. */
const MINUTES = '10'
const CONFORMANCE = 'conformance'

/**
 * The kernel's log has the kind of fault, its address and the registers of a program that dies of it; not where the program has a handler for the signal, and
 * Node.js has one for the sake of WebAssembly. It is shown behind the suite: in between it would cut results in two.
 */
const LOG_FAULTS = 'echo 1 > /proc/sys/debug/exception-trace'
const SHOW_FAULTS = 'busybox dmesg | tail -n 60'
const NODE = 'node --disable-wasm-trap-handler'

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', default: '' },
      suite: { type: 'string', multiple: true },
      minutes: { type: 'string', default: MINUTES },
    },
  })
  const suites = [CONFORMANCE, ...SUITES.map(({ file }) => file)].filter((name) => values.suite?.includes(name) ?? true)
  if (suites.length === 0) throw new Error(`there is no suite ${values.suite?.join()}`)
  const timeout = 60 * Number(values.minutes)
  const image = await ensureImage((line) => console.log(`arm64: ${line}`))
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-arm64-'))
  try {
    await makePayload(folder)
    const reader = new ResultReader(show)
    const script = scriptFor(suites, values.only)
    const options = { line: (text: string) => reader.read(text), timeoutSeconds: timeout }
    const run = await startMachine(image, (cpio) => writePayload(cpio, folder, script), options).ended
    const { passed, failed, skipped } = writeReport(
      'arm64-linux',
      expected(suites, values.only).map((suite) => reader.suite(suite)),
    )
    if (run.status === undefined) console.log(`the machine did not come to its end within ${timeout} s`)
    console.log(`arm64: ${passed} passed, ${failed} failed, ${skipped} skipped; the machine ran for ${run.seconds.toFixed(0)} s`)
    return failed === 0 && passed > 0 && run.status === 0 ? 0 : 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The suites that must report. Of the conformance suite it is known beforehand which cases there are. */
function expected(suites: readonly string[], only: string): { name: string; tests?: readonly string[] }[] {
  const cases = [...CONFORMANCE_CASES, ...FAULT_CASES].map(({ name }) => name).filter((name) => name.includes(only))
  return suites.flatMap((suite): { name: string; tests?: readonly string[] }[] =>
    suite === CONFORMANCE ? PROGRAMS.map(({ what }) => ({ name: what, tests: cases })) : [{ name: suite }],
  )
}

function scriptFor(suites: readonly string[], only: string): string {
  const name = `'${only.replaceAll("'", `'\\''`)}'`
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
