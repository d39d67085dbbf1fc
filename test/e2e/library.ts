/** A program that uses a library of its own, in two builds of the library: its lines tell which one is at work. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Server, Target, TargetName } from '../../demo/target.ts'
import { clone } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'

const SOURCES = join(clone, 'test/e2e/library')

interface Make {
  readonly library: string
  readonly compile: readonly string[]
  readonly link: readonly string[]
  readonly linkHost: readonly string[]
}

const MAKES: Readonly<Record<TargetName, Make>> = {
  elf: {
    library: 'libcounter.so',
    compile: ['-fPIC', '-fvisibility=hidden'],
    link: ['-shared', '-Wl,-soname,libcounter.so'],
    linkHost: ['-Wl,-rpath,$ORIGIN'],
  },
  pe: { library: 'counter.dll', compile: [], link: ['-shared'], linkHost: [] },
}

export async function buildLibrary(
  target: Target,
  place: string,
  options: { readonly linkFlags?: readonly string[] } = {},
): Promise<{ host: string; library: string }> {
  const make = MAKES[target.name]
  const flags = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', `-I${SOURCES}`, `-ffile-prefix-map=${clone}=.`, ...make.compile]
  rmSync(place, { recursive: true, force: true })
  for (const version of ['before', 'after']) {
    mkdirSync(join(place, version), { recursive: true })
    await mustRun(target.compiler, [...flags, '-c', join(SOURCES, version, 'counter.c'), '-o', join(place, version, 'counter.o')])
  }
  const library = join(place, make.library)
  const host = join(place, `host${target.programSuffix}`)
  await mustRun(target.compiler, [join(place, 'before/counter.o'), '-o', library, ...make.link, ...(options.linkFlags ?? [])])
  await mustRun(target.compiler, ['-O2', `-I${SOURCES}`, join(SOURCES, 'host.c'), library, '-o', host, ...make.linkHost])
  return { host, library }
}

interface Line {
  readonly version: string
  readonly count: number
  readonly scaled: number
  readonly sum: number
}

export function linesOf(server: Server): Line[] {
  return server
    .output()
    .split(/\r?\n/)
    .slice(0, -1)
    .map((line) => {
      const [version = '', ...numbers] = line.split(' ')
      const [count = 0, scaled = 0, sum = 0] = numbers.map(Number)
      return { version, count, scaled, sum }
    })
}

/** Waits until lines of that version come. */
export async function untilLast(server: Server, version: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) if (linesOf(server).at(-1)?.version === version) return
  throw new Error(`no "${version}" line came: ${JSON.stringify(linesOf(server).slice(-3))}`)
}
