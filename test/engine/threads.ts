/**
 * Programs whose threads count, each for itself, in thread-local variables: three builds of one object (before, after, and what comes later), linked with
 * another and a main program.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPatch } from '../../src/builder/build.ts'
import { kept, made } from '../brought.ts'
import { GCC_FOR_ARM64 } from '../process/programs.ts'

export type ThreadsSystem = 'elf' | 'elf-arm64' | 'pe'

export interface Make {
  readonly title: string
  readonly system: ThreadsSystem
  /** With the options that say what it compiles for. */
  readonly compiler: readonly [program: string, ...options: string[]]
  readonly flags: readonly string[]
  /** Whether the counting is a library's; else the program's own. */
  readonly library: boolean
  /** Whether the fix has thread-local variables of its own. */
  readonly fresh: boolean
  readonly link: readonly string[]
}

const PIC = ['-fPIC']
const PIE = ['-pie']

type Row = Omit<Make, 'system' | 'fresh'>

/** The ways in which compilers reach thread-local data, and what linkers make of them. */
const ELF_ROWS: readonly Row[] = [
  { title: 'local exec', compiler: ['gcc'], flags: ['-fPIE'], library: false, link: PIE },
  { title: 'local exec, at a fixed address', compiler: ['gcc'], flags: ['-fno-pie'], library: false, link: ['-no-pie'] },
  { title: 'general dynamic in a program', compiler: ['gcc'], flags: PIC, library: false, link: PIE },
  { title: 'descriptors in a program', compiler: ['gcc'], flags: [...PIC, '-mtls-dialect=gnu2'], library: false, link: PIE },
  { title: 'general and local dynamic', compiler: ['gcc'], flags: PIC, library: true, link: [] },
  { title: 'general and local dynamic without a PLT', compiler: ['gcc'], flags: [...PIC, '-fno-plt'], library: true, link: [] },
  { title: 'initial exec', compiler: ['gcc'], flags: [...PIC, '-ftls-model=initial-exec'], library: true, link: [] },
  { title: 'descriptors', compiler: ['gcc'], flags: [...PIC, '-mtls-dialect=gnu2'], library: true, link: [] },
  { title: "clang's dynamic", compiler: ['clang-19'], flags: PIC, library: true, link: [] },
  { title: "clang's, linked by lld", compiler: ['clang-19'], flags: ['-fPIE'], library: false, link: [...PIE, '-fuse-ld=lld'] },
]

const GCC = [GCC_FOR_ARM64] as const
const CLANG = ['clang-19', '--target=aarch64-linux-gnu'] as const
const TRADITIONAL = [...PIC, '-mtls-dialect=trad']

const ARM64_ROWS: readonly Row[] = [
  { title: 'local exec', compiler: GCC, flags: ['-fPIE'], library: false, link: PIE },
  { title: 'local exec, at a fixed address', compiler: GCC, flags: ['-fno-pie'], library: false, link: ['-no-pie'] },
  { title: 'descriptors in a program', compiler: GCC, flags: PIC, library: false, link: PIE },
  { title: 'general dynamic in a program', compiler: GCC, flags: TRADITIONAL, library: false, link: PIE },
  { title: 'descriptors', compiler: GCC, flags: PIC, library: true, link: [] },
  { title: 'general dynamic', compiler: GCC, flags: TRADITIONAL, library: true, link: [] },
  { title: 'initial exec', compiler: GCC, flags: [...PIC, '-ftls-model=initial-exec'], library: true, link: [] },
  { title: "clang's, linked by lld", compiler: CLANG, flags: ['-fPIE'], library: false, link: [...PIE, '-fuse-ld=lld'] },
  { title: "clang's descriptors", compiler: CLANG, flags: PIC, library: true, link: [] },
]

/** Where code has a distance in moves, a patch has nothing that fills them in. */
const ARM64_ROWS_WITHOUT_FRESH: readonly Row[] = [
  { title: 'local exec of 4 GB', compiler: GCC, flags: ['-fPIE', '-mtls-size=32'], library: false, link: PIE },
  { title: 'local exec of 4 KB', compiler: GCC, flags: ['-fPIE', '-mtls-size=12'], library: false, link: PIE },
]

const CLANG_MINGW = ['clang-19', '--target=x86_64-w64-mingw32'] as const

/** clang's code counts from its module's block. */
const PE_ROWS: readonly Row[] = [
  { title: 'a program', compiler: CLANG_MINGW, flags: [], library: false, link: [] },
  { title: 'a program without symbols', compiler: CLANG_MINGW, flags: [], library: false, link: ['-s'] },
  { title: 'a DLL', compiler: CLANG_MINGW, flags: [], library: true, link: [] },
  { title: 'a program, linked by lld', compiler: CLANG_MINGW, flags: [], library: false, link: ['-fuse-ld=lld-19'] },
  { title: 'a DLL, linked by lld', compiler: CLANG_MINGW, flags: [], library: true, link: ['-fuse-ld=lld-19'] },
]

/** Variables and calls like any others. */
const EMULATED_ROWS: readonly Row[] = [
  { title: 'emulated, in a program', compiler: ['x86_64-w64-mingw32-gcc'], flags: [], library: false, link: [] },
  { title: 'emulated, in a DLL', compiler: ['x86_64-w64-mingw32-gcc'], flags: [], library: true, link: [] },
]

const makes = (system: ThreadsSystem, fresh: boolean, rows: readonly Row[]): Make[] => rows.map((row) => ({ ...row, system, fresh }))

export const MAKES: Readonly<Record<ThreadsSystem, readonly Make[]>> = {
  elf: makes('elf', true, ELF_ROWS),
  'elf-arm64': [...makes('elf-arm64', true, ARM64_ROWS), ...makes('elf-arm64', false, ARM64_ROWS_WITHOUT_FRESH)],
  pe: [...makes('pe', true, PE_ROWS), ...makes('pe', true, EMULATED_ROWS)],
}

interface Files {
  readonly program: string
  readonly library: string
  readonly linkLibrary: readonly string[]
  readonly linkProgram: readonly string[]
}

const ELF: Files = {
  program: 'count',
  library: 'libcount.so',
  linkLibrary: ['-Wl,-soname,libcount.so'],
  linkProgram: ['-Wl,-rpath,$ORIGIN'],
}
const FILES: Readonly<Record<ThreadsSystem, Files>> = {
  elf: ELF,
  'elf-arm64': ELF,
  pe: { program: 'count.exe', library: 'count.dll', linkLibrary: ['-static'], linkProgram: ['-static'] },
}

/** Beside what is compiled: folders of objects, and what they are compiled from. */
const SIDES = {
  before: { source: 'before', options: [] },
  after: { source: 'after', options: [] },
  later: { source: 'after', options: ['-DLATER'] },
} as const

export interface Threads {
  readonly folder: string
  /** What is to be patched. */
  readonly base: string
  readonly program: string
  /** The patch file: of the fix, or of the one that takes its place. */
  patch(side: 'after' | 'later'): Uint8Array
}

/** The caller deletes the folder. */
export function buildThreads(make: Make): Threads {
  const files = FILES[make.system]
  const folder = made('threads', make, (into) => compile(make, into))
  const base = join(folder, make.library ? files.library : files.program)
  const before = join(folder, 'before')
  const naming = { id: 'counter', description: '', cves: [] }
  const patch = (side: 'after' | 'later'): Uint8Array =>
    kept(folder, `${side}.patch`, () => {
      const built = buildPatch({ before, after: join(folder, side), base, sequence: side === 'after' ? 1 : 2, ...naming })
      if (built.outcome !== 'built') throw new Error('the builder found nothing to patch')
      return built.image
    })
  return { folder, base, program: join(folder, files.program), patch }
}

function compile({ system, compiler: [compiler, ...options], flags, library, fresh, link }: Make, folder: string): void {
  const from = fileURLToPath(new URL('threads/', import.meta.url))
  const files = FILES[system]
  const run = (args: readonly string[]): void => void execFileSync(compiler, [...options, ...args], { cwd: from, stdio: 'inherit' })
  const common = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', '-I.', `-ffile-prefix-map=${from}=./`, ...flags]
  const defined = [...(fresh ? ['-DFRESH'] : []), ...(library ? ['-DLIBRARY'] : [])]
  for (const [side, { source, options: own }] of Object.entries(SIDES)) {
    mkdirSync(join(folder, side))
    run([...common, ...defined, ...own, '-c', `${source}/counter.c`, '-o', join(folder, side, 'counter.o')])
    run([...common, '-c', 'shared.c', '-o', join(folder, side, 'shared.o')])
  }
  const objects = ['counter.o', 'shared.o'].map((name) => join(folder, 'before', name))
  const main = ['-O2', '-pthread', ...files.linkProgram, '-I.', 'main.c']
  const program = join(folder, files.program)
  if (!library) {
    run([...main, ...objects, ...link, '-o', program])
    return
  }
  const base = join(folder, files.library)
  run([...objects, '-shared', ...files.linkLibrary, ...link, '-o', base])
  run([...main, base, '-o', program])
}

export interface Line {
  readonly version: string
  readonly thread: number
  /** The four counters, in which each line of a thread is one more than its last. */
  readonly shared: number
  readonly visible: number
  readonly own: number
  readonly within: number
  /** What the thread has written into its own array, and what was there from the start. */
  readonly byte: number
  /** What versions with variables of their own have counted since the first of them came, from 500 on. */
  readonly fresh: number
  /** The same of the last version, from 900 on. */
  readonly later: number
  readonly filling: string
}

export function linesOf(output: string): Line[] {
  return output
    .split(/\r?\n/)
    .slice(0, -1)
    .map((line) => {
      const [version = '', ...words] = line.split(' ')
      const [thread = 0, shared = 0, visible = 0, own = 0, within = 0, byte = 0, fresh = 0, later = 0] = words.map(Number)
      return { version, thread, shared, visible, own, within, byte, fresh, later, filling: words.at(-1) ?? '' }
    })
}

/** Those that live on. */
export const THREADS = [1, 2, 3]
const SHORT_LIVED = 4

/** What each line must be: no count is missing, whichever version counted. */
export function expectedLines(lines: readonly Line[], hasFresh: boolean): Line[] {
  const counts = new Map<number, { all: number; fresh: number; later: number }>()
  return lines.map(({ version, thread }) => {
    const before = thread === SHORT_LIVED ? undefined : counts.get(thread)
    const { all, fresh, later } = before ?? { all: 0, fresh: 0, later: 0 }
    const now = { all: all + 1, fresh: version === 'old' ? 0 : fresh + 1, later: version === 'later' ? later + 1 : 0 }
    counts.set(thread, now)
    return {
      version,
      thread,
      shared: now.all,
      visible: 1000 + now.all + (version === 'old' ? 0 : 100_000),
      own: now.all,
      within: 7000 + now.all,
      byte: thread,
      fresh: hasFresh && now.fresh > 0 ? 500 + now.fresh : 0,
      later: hasFresh && now.later > 0 ? 900 + now.later : 0,
      filling: 'filling',
    }
  })
}

/** Whether every thread has written a line of that version. */
export const haveAll = (lines: readonly Line[], version: string): boolean =>
  [...THREADS, SHORT_LIVED].every((thread) => lines.some((line) => line.thread === thread && line.version === version))
