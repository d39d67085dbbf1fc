/** Programs whose threads count, each for itself, in thread-local variables: two builds of one object, linked with another and a main program. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { clone } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'

const SOURCES = join(clone, 'test/e2e/threads')

export interface Make {
  readonly title: string
  readonly compiler: string
  readonly flags: readonly string[]
  /** Whether the counting is a library's; else the program's own. */
  readonly library: boolean
  readonly link: readonly string[]
}

const PIC = ['-fPIC']

/** The ways in which compilers reach thread-local data, and what linkers make of them. */
export const MAKES: readonly Make[] = [
  { title: 'local exec', compiler: 'gcc', flags: ['-fPIE'], library: false, link: ['-pie'] },
  { title: 'local exec, at a fixed address', compiler: 'gcc', flags: ['-fno-pie'], library: false, link: ['-no-pie'] },
  { title: 'general dynamic in a program', compiler: 'gcc', flags: PIC, library: false, link: ['-pie'] },
  { title: 'descriptors in a program', compiler: 'gcc', flags: [...PIC, '-mtls-dialect=gnu2'], library: false, link: ['-pie'] },
  { title: 'general and local dynamic', compiler: 'gcc', flags: PIC, library: true, link: [] },
  { title: 'general and local dynamic without a PLT', compiler: 'gcc', flags: [...PIC, '-fno-plt'], library: true, link: [] },
  { title: 'initial exec', compiler: 'gcc', flags: [...PIC, '-ftls-model=initial-exec'], library: true, link: [] },
  { title: 'descriptors', compiler: 'gcc', flags: [...PIC, '-mtls-dialect=gnu2'], library: true, link: [] },
  { title: "clang's dynamic", compiler: 'clang-19', flags: PIC, library: true, link: [] },
  { title: "clang's, linked by lld", compiler: 'clang-19', flags: ['-fPIE'], library: false, link: ['-pie', '-fuse-ld=lld'] },
]

export interface Built {
  readonly base: string
  readonly program: string
}

/** Both builds in `place`/before and `place`/after, and what is to be patched. */
export async function buildThreads({ compiler, flags, library, link }: Make, place: string): Promise<Built> {
  rmSync(place, { recursive: true, force: true })
  const compile = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', `-I${SOURCES}`, `-ffile-prefix-map=${clone}=.`, ...flags]
  for (const version of ['before', 'after']) {
    mkdirSync(join(place, version), { recursive: true })
    await mustRun(compiler, [...compile, '-c', join(SOURCES, version, 'counter.c'), '-o', join(place, version, 'counter.o')])
    await mustRun(compiler, [...compile, '-c', join(SOURCES, 'shared.c'), '-o', join(place, version, 'shared.o')])
  }
  const objects = ['counter.o', 'shared.o'].map((name) => join(place, 'before', name))
  const main = ['-O2', '-pthread', `-I${SOURCES}`, join(SOURCES, 'main.c')]
  const program = join(place, 'count')
  if (!library) {
    await mustRun(compiler, [...main, ...objects, ...link, '-o', program])
    return { base: program, program }
  }
  const base = join(place, 'libcount.so')
  await mustRun(compiler, [...objects, '-shared', '-Wl,-soname,libcount.so', ...link, '-o', base])
  await mustRun(compiler, [...main, base, '-Wl,-rpath,$ORIGIN', '-o', program])
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
  readonly filling: string
}

export function linesOf(output: string): Line[] {
  return output
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [version = '', thread, shared, visible, own, within, byte, filling = ''] = line.split(' ')
      const [a, b, c, d, e, f] = [thread, shared, visible, own, within, byte].map(Number) as [
        number,
        number,
        number,
        number,
        number,
        number,
      ]
      return { version, thread: a, shared: b, visible: c, own: d, within: e, byte: f, filling }
    })
}
