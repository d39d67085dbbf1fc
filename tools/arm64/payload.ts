/** What the machine is given to test with: the product and its tests as JavaScript, their programs and patches, and what stands for vitest. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SUITES } from '../../test/arm64/suites.ts'
import { PAUSE_MS } from '../../test/brought.ts'
import { clone } from '../places.ts'
import { mustRun } from '../run.ts'
import { bundle, bundlePackage, bundleSnapshot, bundleTogether, OTHER_LANGUAGES } from './bundle.ts'
import type { CpioWriter } from './cpio.ts'

const COMPILER = 'aarch64-linux-gnu-gcc'
/** Programs of their own. */
const LINUX_SCRIPTS = ['src/process/testing/run-on-linux', 'src/process/testing/other-engine']
/** In test/: what runs suites, and these, in one process. */
const LINUX_SUITE_SCRIPTS = ['arm64/run', ...SUITES.map(({ file }) => `${file}.test`)]

/** The entry of the snapshot that what tests start starts from. */
export const LINUX_SNAPSHOT = 'test/arm64/snapshot-on-linux'

export interface ConformanceProgram {
  readonly file: string
  readonly what: string
  readonly options: readonly string[]
}

export const PROGRAMS: readonly ConformanceProgram[] = [
  { file: 'conformance-pie', what: 'a position-independent program with PAC and BTI', options: ['-mbranch-protection=standard'] },
  { file: 'conformance-fixed', what: 'a static program at a fixed address', options: ['-static'] },
]

const PROGRAM_OPTIONS = [...['-O2', '-g', '-pthread', '-Wl,-z,separate-code', `-DPAUSE_MS=${PAUSE_MS}`], 'test/targets/conformance.c']

/** What scripts in `folder` look for beside themselves: the product's version, and zod, which is asked for by name. Throws what the compiler says. */
export async function bringPackages(folder: string): Promise<void> {
  cpSync(join(clone, 'package.json'), join(folder, 'dist/package.json'))
  const packages = join(folder, 'node_modules')
  await bundlePackage(join(clone, 'node_modules/zod/index.cjs'), join(packages, 'zod/index.cjs'), 'cjs', OTHER_LANGUAGES)
  writeFileSync(join(packages, 'zod/package.json'), '{ "main": "index.cjs" }')
}

/** Compiles product and tests to JavaScript into `folder`, with what stands for vitest there. Throws what the compiler says. */
export async function makeLinuxScripts(folder: string): Promise<void> {
  await bringPackages(folder)
  await bundle(LINUX_SCRIPTS, join(folder, 'dist'))
  await bundleTogether('test', LINUX_SUITE_SCRIPTS, join(folder, 'dist'))
  await bundleSnapshot(LINUX_SNAPSHOT, join(folder, 'dist'))
  const vitest = join(folder, 'node_modules/vitest')
  await bundlePackage(join(clone, 'test/arm64/vitest.mjs'), join(vitest, 'index.js'), 'esm')
  writeFileSync(join(vitest, 'package.json'), '{ "type": "module", "exports": "./index.js" }')
}

/** Compiles for Linux what the tests start, patches included, into `folder`. Throws what compilers and builder throw. */
export async function makePrograms(folder: string): Promise<void> {
  for (const { file, options } of PROGRAMS)
    await mustRun(COMPILER, [...PROGRAM_OPTIONS, ...options, '-o', join(folder, file)], { cwd: clone })
  const brought = join(folder, 'brought')
  mkdirSync(brought)
  await mustRun('npx', ['tsx', 'test/arm64/builds.ts'], { cwd: clone, env: { HOTPATCH_BRING: brought } })
}

/** Writes what was made into `folder`; the runtime dependencies lie beside it. */
export function writePayload(cpio: CpioWriter, folder: string, script: string): void {
  cpio.file('hotpatch/package.json', Buffer.from('{ "type": "module" }'), 0o644)
  cpio.tree('hotpatch/payload', folder)
  cpio.file('hotpatch/payload/run.sh', Buffer.from(script), 0o755)
}
