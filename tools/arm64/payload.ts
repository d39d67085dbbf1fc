/** What the machine is given to test with: the product and its tests as JavaScript, their programs and patches, and what stands for vitest. */
import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { clone, workshop } from '../places.ts'
import { mustRun } from '../run.ts'
import type { CpioWriter } from './cpio.ts'

const COMPILER = 'aarch64-linux-gnu-gcc'
/** As in test/arm64/tsconfig.json. */
const COMPILED = join(workshop, 'arm64-tests')
/** Packages of the test runner, in JavaScript alone. */
const RUNNER = [
  '@vitest/runner',
  '@vitest/expect',
  '@vitest/spy',
  '@vitest/utils',
  '@vitest/pretty-format',
  '@standard-schema/spec',
  'chai',
  'convert-source-map',
  'pathe',
  'tinyrainbow',
]

export interface ConformanceProgram {
  readonly file: string
  readonly what: string
  readonly options: readonly string[]
}

export const PROGRAMS: readonly ConformanceProgram[] = [
  { file: 'conformance-pie', what: 'a position-independent program with PAC and BTI', options: ['-mbranch-protection=standard'] },
  { file: 'conformance-fixed', what: 'a static program at a fixed address', options: ['-static'] },
]

/** Compiles product and tests to JavaScript into `folder`. Throws what the compiler says. */
export async function makeScripts(folder: string): Promise<void> {
  rmSync(COMPILED, { recursive: true, force: true })
  await mustRun('npx', ['tsc', '-p', 'test/arm64/tsconfig.json'], { cwd: clone })
  cpSync(COMPILED, join(folder, 'dist'), { recursive: true })
  cpSync(join(clone, 'package.json'), join(folder, 'dist/package.json'))
}

/** Compiles for Linux what the tests start, patches included, into `folder`. Throws what compilers and builder throw. */
export async function makePrograms(folder: string): Promise<void> {
  for (const { file, options } of PROGRAMS)
    await mustRun(
      COMPILER,
      ['-O2', '-g', '-pthread', '-Wl,-z,separate-code', ...options, 'test/targets/conformance.c', '-o', join(folder, file)],
      {
        cwd: clone,
      },
    )
  const brought = join(folder, 'brought')
  mkdirSync(brought)
  await mustRun('npx', ['tsx', 'test/arm64/builds.ts'], { cwd: clone, env: { HOTPATCH_BRING: brought } })
}

/** Writes what was made into `folder`, and the packages beside the runtime dependencies. */
export function writePayload(cpio: CpioWriter, folder: string, script: string): void {
  cpio.file('hotpatch/package.json', Buffer.from('{ "type": "module" }'), 0o644)
  for (const scope of ['@vitest', '@standard-schema']) cpio.folder(`hotpatch/node_modules/${scope}`)
  for (const name of RUNNER) cpio.tree(`hotpatch/node_modules/${name}`, join(clone, 'node_modules', name))
  cpio.folder('hotpatch/node_modules/vitest')
  cpio.file('hotpatch/node_modules/vitest/package.json', Buffer.from('{ "type": "module", "exports": "./index.js" }'), 0o644)
  cpio.file('hotpatch/node_modules/vitest/index.js', readFileSync(join(clone, 'test/arm64/vitest.mjs')), 0o644)
  cpio.tree('hotpatch/payload', folder)
  cpio.file('hotpatch/payload/run.sh', Buffer.from(script), 0o755)
}
