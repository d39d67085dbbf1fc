/** The machines that the tests on ARM64 run in, and what each of them runs. */
import { AT_ONCE } from '../../test/arm64/suites.ts'
import { LINUX_SUITES, linuxExpected, linuxScript } from './linux.ts'
import type { Processors } from './machine.ts'
import { LINUX, type System, WINDOWS } from './systems.ts'
import { WINDOWS_SUITES, windowsScript } from './windows.ts'

/** A suite that must report. */
export interface Expected {
  readonly name: string
  /** Its tests, where they are known beforehand. */
  readonly tests?: readonly string[]
}

/** One machine and its suites. */
export interface Lane {
  readonly name: string
  /** Lanes with the same one have one report. */
  readonly report: string
  /** The machine is switched off then. */
  readonly minutes: number
  readonly processors: Processors
  readonly suites: readonly string[]
  readonly system: System
  /** What comes after the system's `prepare`. @param only quoted for the shell */
  script(suites: readonly string[], only: string): string
  expected(suites: readonly string[]): readonly Expected[]
}

const WINDOWS_LANES = WINDOWS_SUITES.map(
  ({ name }): Lane => ({
    name,
    report: 'arm64-windows',
    minutes: 40,
    processors: 'in turns',
    suites: [name],
    system: WINDOWS,
    script: (suites, only) => windowsScript(chosen(suites), only),
    expected: (suites) => chosen(suites).map(({ what, tests }) => ({ name: what, tests })),
  }),
)

const LINUX_LANES = Object.entries(LINUX_SUITES).map(
  ([name, suites]): Lane => ({
    name,
    report: 'arm64-linux',
    minutes: 20,
    processors: 'in turns',
    suites,
    system: LINUX,
    script: linuxScript,
    expected: (chosen) => chosen.flatMap(linuxExpected),
  }),
)

const ALL: readonly Lane[] = [
  ...WINDOWS_LANES,
  ...LINUX_LANES,
  {
    name: 'linux-at-once',
    report: 'arm64-linux-at-once',
    minutes: 5,
    processors: 'at once',
    suites: AT_ONCE,
    system: LINUX,
    script: linuxScript,
    expected: (suites) => suites.map((name) => ({ name })),
  },
]

/** So that none of those that take long is left over at the end. */
const LONGEST_FIRST = [
  ...['windows-conformance', 'linux-process', 'windows-cli', 'windows-engine', 'linux-engine', 'linux-patches', 'linux-at-once'],
]
export const LANES: readonly Lane[] = LONGEST_FIRST.flatMap((wanted) => ALL.filter(({ name }) => name === wanted))

const chosen = (suites: readonly string[]) => WINDOWS_SUITES.filter(({ name }) => suites.includes(name))
