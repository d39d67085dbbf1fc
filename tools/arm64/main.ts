/**
 * Tests on ARM64, in an emulated machine that is made on the first run and kept in the cache:
 *
 *   npm run test:arm64                     everything
 *   npm run test:arm64 -- --only TEXT      the cases whose name contains it
 *
 * The host compiles, for the machine has no compiler: TypeScript to JavaScript, C with aarch64-linux-gnu-gcc.
 * Exit code 0 when every case has passed.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pc from 'picocolors'
import { FAULT_CASES } from '../../src/process/testing/call-cases.ts'
import { CONFORMANCE_CASES } from '../../src/process/testing/conformance.ts'
import type { CaseResult } from '../../src/process/testing/run-cases.ts'
import { clone, workshop } from '../places.ts'
import { mustRun } from '../run.ts'
import { ensureImage } from './image.ts'
import { runMachine } from './machine.ts'
import { type Suite, writeReport } from './report.ts'

const COMPILER = 'aarch64-linux-gnu-gcc'
/** As in test/process/tsconfig.arm64.json. */
const COMPILED = join(workshop, 'arm64-tests')
/** The machine is switched off then. */
const TIMEOUT_SECONDS = 420
const RESULT = /^@result (\{.*\})$/
const SUITE = /^@suite (.*)$/

interface Program {
  readonly file: string
  readonly what: string
  readonly options: readonly string[]
}

const PROGRAMS: readonly Program[] = [
  { file: 'conformance-pie', what: 'a position-independent program with PAC and BTI', options: ['-mbranch-protection=standard'] },
  { file: 'conformance-fixed', what: 'a static program at a fixed address', options: ['-static'] },
]

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const at = args.indexOf('--only')
  const only = at < 0 ? '' : (args[at + 1] ?? '')
  const names = [...CONFORMANCE_CASES, ...FAULT_CASES].map(({ name }) => name).filter((name) => name.includes(only))
  const image = await ensureImage((line) => console.log(`arm64: ${line}`))
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-arm64-'))
  try {
    await mustRun('npx', ['tsc', '-p', 'test/process/tsconfig.arm64.json'], { cwd: clone })
    for (const { file, options } of PROGRAMS)
      await mustRun(COMPILER, [
        '-O2',
        '-g',
        '-pthread',
        '-Wl,-z,separate-code',
        ...options,
        join(clone, 'test/targets/conformance.c'),
        '-o',
        join(folder, file),
      ])

    const suites = new Map<string, Suite & { results: Map<string, CaseResult> }>()
    let current: (Suite & { results: Map<string, CaseResult> }) | undefined
    const run = await runMachine(
      image,
      (cpio) => {
        cpio.file('hotpatch/package.json', Buffer.from('{ "type": "module" }'), 0o644)
        cpio.tree('hotpatch/payload/dist', COMPILED)
        for (const { file } of PROGRAMS) cpio.file(`hotpatch/payload/${file}`, readFileSync(join(folder, file)), 0o755)
        cpio.file('hotpatch/payload/run.sh', Buffer.from(script(only)), 0o755)
      },
      (text) => {
        const suite = SUITE.exec(text)?.[1]
        const result = RESULT.exec(text)?.[1]
        if (suite !== undefined) {
          current = { name: suite, cases: names, results: new Map() }
          suites.set(suite, current)
          console.log(pc.bold(suite))
        } else if (result !== undefined) {
          const parsed = JSON.parse(result) as CaseResult
          current?.results.set(parsed.name, parsed)
          show(parsed)
        } else console.log(pc.dim(text))
      },
      TIMEOUT_SECONDS,
    )
    const all = PROGRAMS.map(({ what }) => suites.get(what) ?? { name: what, cases: names, results: new Map() })
    const { passed, failed } = writeReport('arm64-linux', all)
    if (run.status === undefined) console.log(`the machine did not come to its end within ${TIMEOUT_SECONDS} s`)
    console.log(`arm64: ${passed} passed, ${failed} failed; the machine ran for ${run.seconds.toFixed(0)} s`)
    return failed === 0 && passed > 0 && run.status === 0 ? 0 : 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function show({ name, error, milliseconds }: CaseResult): void {
  console.log(`${error === undefined ? pc.green('✔') : pc.red('✘')} ${name} ${pc.dim(`${milliseconds} ms`)}`)
  if (error !== undefined) console.log(error)
}

function script(only: string): string {
  const name = `'${only.replaceAll("'", `'\\''`)}'`
  const runner = 'node /hotpatch/payload/dist/process/testing/run-on-linux.js'
  return [
    'set -e',
    ...PROGRAMS.flatMap(({ file, what }) => [`echo '@suite ${what}'`, `${runner} /hotpatch/payload/${file} ${name}`]),
    '',
  ].join('\n')
}
