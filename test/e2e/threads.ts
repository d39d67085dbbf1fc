/** Programs whose threads count, each for itself, in thread-local variables: two builds of one object, linked with another and a main program. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { TargetName } from '../../demo/target.ts'
import { clone } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'

const SOURCES = join(clone, 'test/e2e/threads')

export interface Make {
  readonly title: string
  readonly target: TargetName
  /** With the options that say what it compiles for. */
  readonly compiler: readonly [program: string, ...options: string[]]
  readonly flags: readonly string[]
  /** Whether the counting is a library's; else the program's own. */
  readonly library: boolean
  /** Whether the fix has thread-local variables of its own: in PE only gcc's emulation can. */
  readonly fresh: boolean
  readonly link: readonly string[]
}

const PIC = ['-fPIC']

const CLANG_MINGW = ['clang-19', '--target=x86_64-w64-mingw32'] as const

/** The ways in which compilers reach thread-local data, and what linkers make of them. */
export const MAKES: readonly Make[] = [
  { title: 'local exec', target: 'elf', fresh: true, compiler: ['gcc'], flags: ['-fPIE'], library: false, link: ['-pie'] },
  {
    title: 'local exec, at a fixed address',
    target: 'elf',
    fresh: true,
    compiler: ['gcc'],
    flags: ['-fno-pie'],
    library: false,
    link: ['-no-pie'],
  },
  { title: 'general dynamic in a program', target: 'elf', fresh: true, compiler: ['gcc'], flags: PIC, library: false, link: ['-pie'] },
  {
    title: 'descriptors in a program',
    target: 'elf',
    fresh: true,
    compiler: ['gcc'],
    flags: [...PIC, '-mtls-dialect=gnu2'],
    library: false,
    link: ['-pie'],
  },
  { title: 'general and local dynamic', target: 'elf', fresh: true, compiler: ['gcc'], flags: PIC, library: true, link: [] },
  {
    title: 'general and local dynamic without a PLT',
    target: 'elf',
    fresh: true,
    compiler: ['gcc'],
    flags: [...PIC, '-fno-plt'],
    library: true,
    link: [],
  },
  {
    title: 'initial exec',
    target: 'elf',
    fresh: true,
    compiler: ['gcc'],
    flags: [...PIC, '-ftls-model=initial-exec'],
    library: true,
    link: [],
  },
  { title: 'descriptors', target: 'elf', fresh: true, compiler: ['gcc'], flags: [...PIC, '-mtls-dialect=gnu2'], library: true, link: [] },
  { title: "clang's dynamic", target: 'elf', fresh: true, compiler: ['clang-19'], flags: PIC, library: true, link: [] },
  {
    title: "clang's, linked by lld",
    target: 'elf',
    fresh: true,
    compiler: ['clang-19'],
    flags: ['-fPIE'],
    library: false,
    link: ['-pie', '-fuse-ld=lld'],
  },
  { title: 'a program', target: 'pe', fresh: false, compiler: CLANG_MINGW, flags: [], library: false, link: [] },
  { title: 'a program without symbols', target: 'pe', fresh: false, compiler: CLANG_MINGW, flags: [], library: false, link: ['-s'] },
  { title: 'a DLL', target: 'pe', fresh: false, compiler: CLANG_MINGW, flags: [], library: true, link: [] },
  {
    title: 'a program, linked by lld',
    target: 'pe',
    fresh: false,
    compiler: CLANG_MINGW,
    flags: [],
    library: false,
    link: ['-fuse-ld=lld-19'],
  },
  { title: 'a DLL, linked by lld', target: 'pe', fresh: false, compiler: CLANG_MINGW, flags: [], library: true, link: ['-fuse-ld=lld-19'] },
  { title: 'emulated, in a program', target: 'pe', fresh: true, compiler: ['x86_64-w64-mingw32-gcc'], flags: [], library: false, link: [] },
  { title: 'emulated, in a DLL', target: 'pe', fresh: true, compiler: ['x86_64-w64-mingw32-gcc'], flags: [], library: true, link: [] },
]

interface Files {
  readonly program: string
  readonly library: string
  readonly linkLibrary: readonly string[]
  readonly linkProgram: readonly string[]
}

const FILES: Readonly<Record<TargetName, Files>> = {
  elf: { program: 'count', library: 'libcount.so', linkLibrary: ['-Wl,-soname,libcount.so'], linkProgram: ['-Wl,-rpath,$ORIGIN'] },
  pe: { program: 'count.exe', library: 'count.dll', linkLibrary: ['-static'], linkProgram: ['-static'] },
}

export interface Built {
  readonly base: string
  readonly program: string
}

/** Both builds in `place`/before and `place`/after, and what is to be patched. */
export async function buildThreads(
  { target, compiler: [compiler, ...options], flags, library, fresh, link }: Make,
  place: string,
): Promise<Built> {
  const files = FILES[target]
  rmSync(place, { recursive: true, force: true })
  const compile = [
    ...options,
    '-O2',
    '-g',
    '-ffunction-sections',
    '-fdata-sections',
    `-I${SOURCES}`,
    `-ffile-prefix-map=${clone}=.`,
    ...flags,
    ...(fresh ? ['-DFRESH'] : []),
    ...(library ? ['-DLIBRARY'] : []),
  ]
  for (const version of ['before', 'after']) {
    mkdirSync(join(place, version), { recursive: true })
    await mustRun(compiler, [...compile, '-c', join(SOURCES, version, 'counter.c'), '-o', join(place, version, 'counter.o')])
    await mustRun(compiler, [...compile, '-c', join(SOURCES, 'shared.c'), '-o', join(place, version, 'shared.o')])
  }
  const objects = ['counter.o', 'shared.o'].map((name) => join(place, 'before', name))
  const main = [...options, '-O2', '-pthread', ...files.linkProgram, `-I${SOURCES}`, join(SOURCES, 'main.c')]
  const program = join(place, files.program)
  if (!library) {
    await mustRun(compiler, [...main, ...objects, ...link, '-o', program])
    return { base: program, program }
  }
  const base = join(place, files.library)
  await mustRun(compiler, [...options, ...objects, '-shared', ...files.linkLibrary, ...link, '-o', base])
  await mustRun(compiler, [...main, base, '-o', program])
  return { base, program }
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
  /** What the version with variables of its own has counted since it came, from 500 on. */
  readonly fresh: number
  readonly filling: string
}

export function linesOf(output: string): Line[] {
  return output
    .split(/\r?\n/)
    .slice(0, -1)
    .map((line) => {
      const [version = '', thread, shared, visible, own, within, byte, fresh, filling = ''] = line.split(' ')
      const [a, b, c, d, e, f, g] = [thread, shared, visible, own, within, byte, fresh].map(Number) as [
        number,
        number,
        number,
        number,
        number,
        number,
        number,
      ]
      return { version, thread: a, shared: b, visible: c, own: d, within: e, byte: f, fresh: g, filling }
    })
}
