/** The machines that the tests on ARM64 run in, and what each of them runs. */
import { mkdirSync } from 'node:fs'
import { AT_ONCE } from '../../test/arm64/suites.ts'
import { ensureImage, type Image } from './image.ts'
import { LINUX_SUITES, linuxExpected, linuxScript } from './linux.ts'
import type { Processors } from './machine.ts'
import { makeLinuxScripts, makePrograms } from './payload.ts'
import { makeWindowsPrograms, makeWindowsScripts, WINDOWS_SUITES, windowsScript } from './windows.ts'
import { ensureWindowsImage } from './windows-image.ts'

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
  image(log: (line: string) => void): Promise<Image>
  /** Compiles into a folder what the suites start. */
  make(folder: string): Promise<void>
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
    image: async (log) => ensureWindowsImage(await ensureImage(log), log),
    make: makeForWindows,
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
    image: ensureImage,
    make: makeForLinux,
    script: linuxScript,
    expected: (chosen) => chosen.flatMap(linuxExpected),
  }),
)

/** Those that take longest come first, so that none of them is left over at the end. */
export const LANES: readonly Lane[] = [
  ...WINDOWS_LANES,
  ...LINUX_LANES,
  {
    name: 'linux-at-once',
    report: 'arm64-linux-at-once',
    minutes: 5,
    processors: 'at once',
    suites: AT_ONCE,
    image: ensureImage,
    make: makeForLinux,
    script: linuxScript,
    expected: (suites) => suites.map((name) => ({ name })),
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
