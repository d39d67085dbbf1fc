/** The suites of Windows on ARM64: what they are given, and the shell script that runs them in Wine. */
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { CONFORMANCE_CASES } from '../../src/process/testing/conformance.ts'
import { DYING_CASES, WATCHDOG_CASES } from '../../src/process/testing/watchdog-cases.ts'
import { WINDOWS_CASES } from '../../src/process/testing/windows-cases.ts'
import { CLI_CASES } from '../../test/arm64/cli-cases.ts'
import { ENGINE_CASES } from '../../test/arm64/engine-cases.ts'
import { clone } from '../places.ts'
import { mustRun } from '../run.ts'
import { bundleSnapshot, COMPILED_AT_ONCE } from './bundle.ts'
import { bringPackages } from './payload.ts'
import { WINDOWS_NODE } from './windows-image.ts'
import { PREPARE_WINE, WINE64 } from './wine-prefix.ts'
import { onDriveZ } from './wine-programs.ts'

interface WindowsSuite {
  /** As `--suite` has it. */
  readonly name: string
  readonly what: string
  /** Their names. */
  readonly tests: readonly string[]
  /** In the clone, without its suffix; and its arguments before the file that takes results. */
  readonly program: string
  readonly brought: readonly string[]
}

/** A program before its fixes, and two cumulative patches of it. */
const FIXED = ['program.exe', 'fix-1.dll', 'fix-2.dll']
/** The same with thread-local variables. */
const THREADS = ['threads-1.dll', 'threads-2.dll']

export const WINDOWS_SUITES: readonly WindowsSuite[] = [
  {
    name: 'windows-conformance',
    what: 'a program for Windows, in Wine',
    tests: [...CONFORMANCE_CASES, ...WINDOWS_CASES, ...WATCHDOG_CASES, ...DYING_CASES].map(({ name }) => name),
    program: 'src/process/testing/run-on-windows',
    brought: ['conformance.exe'],
  },
  {
    name: 'windows-cli',
    what: 'the command line, in Wine',
    tests: CLI_CASES.map(({ name }) => name),
    program: 'test/arm64/cli-on-windows',
    brought: ['product/bin/hotpatch', 'dist/src/cli/main.js', ...FIXED],
  },
  {
    name: 'windows-engine',
    what: 'the engine, in Wine',
    tests: ENGINE_CASES.map(({ name }) => name),
    program: 'test/arm64/engine-on-windows',
    brought: [...FIXED, ...THREADS],
  },
]

const PAYLOAD = '/hotpatch/payload'

/** The snapshot's entry. Suites start from it, and so does what they start: programs start others as they were started. */
const SNAPSHOT = 'test/arm64/snapshot-on-windows'

/** The suites, and beside them the product as it is built. Throws what the compiler says. */
export async function makeWindowsScripts(folder: string): Promise<void> {
  await bringPackages(folder)
  await bundleSnapshot(SNAPSHOT, join(folder, 'dist'))
  for (const name of ['package.json', 'bin', 'dist']) cpSync(join(clone, name), join(folder, 'product', name), { recursive: true })
}

/** Compiles for Windows into `folder`. Throws what compilers throw. */
export async function makeWindowsPrograms(folder: string): Promise<void> {
  await mustRun('npx', ['tsx', 'test/arm64/windows-builds.ts', folder], { cwd: clone })
}

const quoted = (path: string): string => `'${onDriveZ(path)}'`

const BLOB = [...COMPILED_AT_ONCE, '--snapshot-blob', quoted('/tmp/programs.blob')].join(' ')
/** Without NO_COLOR the command line's code would look whether it writes to a terminal, by a stream that cannot be in a snapshot. The builder warns of modules that it does not know. */
const MAKE_SNAPSHOT = [
  `NO_COLOR=1 ${WINE64} ${WINDOWS_NODE} ${BLOB} --build-snapshot ${quoted(`${PAYLOAD}/dist/${SNAPSHOT}.cjs`)} > /tmp/snapshot.output 2>&1 ||`,
  '{ cat /tmp/snapshot.output; exit 1; }',
].join(' ')

/** Lines of a shell script that come before the suites. */
export const PREPARE_WINDOWS: readonly string[] = [...PREPARE_WINE, MAKE_SNAPSHOT]

/** Shows lines as results, and does `more` after each. One that is cut off is left. */
const told = (more: string): string => `while read -r line; do echo "@result $line"; ${more}; done`

/** What comes after PREPARE_WINDOWS. Node writes to files: on a pipe it fails with EBADF. Results go to the console as they come. @param only quoted for the shell */
export function windowsScript(suites: readonly WindowsSuite[], only: string): string {
  const runs = suites.flatMap(({ name, what, program, brought }) => {
    const [results, output] = [`/tmp/${name}.results`, `/tmp/${name}.output`]
    const files = [`${PAYLOAD}/dist/${program}.js`, ...brought.map((file) => `${PAYLOAD}/${file}`), results].map(quoted)
    const node = [WINE64, WINDOWS_NODE, BLOB].join(' ')
    return [
      `echo '@suite ${what}'`,
      `: > ${results}`,
      // tail looks once a second: what it has not shown by the end is read then.
      `{ tail -n +1 -f ${results} & echo $! > /tmp/tail; } | { shown=0; ${told('shown=$((shown+1))')}; tail -n +$((shown+1)) ${results} | ${told(':')}; } &`,
      `${node} ${files.join(' ')} ${only} > ${output} 2>&1 && ended=@done || { ended=; status=1; cat ${output}; }`,
      'kill $(cat /tmp/tail); wait; echo $ended',
    ]
  })
  return ['status=0', ...runs, 'exit $status', ''].join('\n')
}
