/** The suites of Linux on ARM64, and the shell script that runs them. */
import { FAULT_CASES } from '../../src/process/testing/call-cases.ts'
import { CONFORMANCE_CASES } from '../../src/process/testing/conformance.ts'
import { SUITES } from '../../test/arm64/suites.ts'
import { COMPILED_AT_ONCE } from './bundle.ts'
import { LINUX_SNAPSHOT, PROGRAMS } from './payload.ts'

const CONFORMANCE = 'conformance'
const files = SUITES.map(({ file }) => file)
const PATCHES = ['engine/supersede', 'engine/threads']

/** By machine. */
export const LINUX_SUITES: Readonly<Record<string, readonly string[]>> = {
  'linux-process': [CONFORMANCE, ...files.filter((file) => file.startsWith('process/'))],
  'linux-engine': files.filter((file) => file.startsWith('engine/') && !PATCHES.includes(file)),
  'linux-patches': PATCHES,
}

/** What a suite must report: its name, and its tests where they are known beforehand. */
export const linuxExpected = (suite: string): { readonly name: string; readonly tests?: readonly string[] }[] =>
  suite === CONFORMANCE
    ? PROGRAMS.map(({ what }) => ({ name: what, tests: [...CONFORMANCE_CASES, ...FAULT_CASES].map(({ name }) => name) }))
    : [{ name: suite }]

/**
 * The kernel's log has the kind of fault, its address and the registers of a program that dies of it; not where the program has a handler for the signal, and
 * Node.js has one for the sake of WebAssembly. It is shown behind the suite: in between it would cut results in two.
 */
const LOG_FAULTS = 'echo 1 > /proc/sys/debug/exception-trace'
const SHOW_FAULTS = 'busybox dmesg | tail -n 60'
const NODE = 'node --disable-wasm-trap-handler'

const SCRIPTS = '/hotpatch/payload/dist'
/** What Node is given to start from it. */
const FROM_SNAPSHOT = [...COMPILED_AT_ONCE, '--snapshot-blob /tmp/programs.blob'].join(' ')
const MAKE_SNAPSHOT = `node ${FROM_SNAPSHOT} --build-snapshot ${SCRIPTS}/${LINUX_SNAPSHOT}.cjs > /tmp/snapshot.output 2>&1 || { cat /tmp/snapshot.output; exit 1; }`

/** Lines of a shell script that come before the suites. */
export const PREPARE_LINUX: readonly string[] = [
  LOG_FAULTS,
  'export HOTPATCH_BROUGHT=/hotpatch/payload/brought',
  `export HOTPATCH_SNAPSHOT='${FROM_SNAPSHOT}'`,
  MAKE_SNAPSHOT,
]

/** What comes after PREPARE_LINUX. @param name quoted for the shell */
export function linuxScript(suites: readonly string[], name: string): string {
  const files = suites.filter((suite) => suite !== CONFORMANCE)
  const programs = PROGRAMS.map(({ file, what }) => `/hotpatch/payload/${file} '${what}'`)
  const conformance = `${NODE} ${SCRIPTS}/src/process/testing/run-on-linux.js ${name} ${programs.join(' ')} || { status=$?; ${SHOW_FAULTS}; }`
  return [
    'status=0',
    ...(files.length === 0
      ? []
      : [`${NODE} ${SCRIPTS}/test/arm64/run.js ${files.join(' ')} --only ${name} 2>&1 || { status=$?; ${SHOW_FAULTS}; }`]),
    ...(suites.includes(CONFORMANCE) ? [conformance] : []),
    'exit $status',
    '',
  ].join('\n')
}
