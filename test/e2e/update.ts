/** One update of a program, its library, and two programs with one static library inside; and an image that nothing of it concerns. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Server, Target, TargetName } from '../../demo/target.ts'
import { clone } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'

const SOURCES = join(clone, 'test/e2e/update')
const OBJECTS = ['app', 'lib', 'parse', 'tool', 'loop'] as const

/** Folders of objects, and what is defined in each. */
const BUILDS = { before: [], after: ['-DUPDATE_FIXED'], refused: ['-DUPDATE_FIXED', '-DUPDATE_REFUSED'] } as const

interface Make {
  readonly library: string
  readonly compile: readonly string[]
  readonly shared: readonly string[]
  readonly program: readonly string[]
}

const MAKES: Readonly<Record<TargetName, Make>> = {
  elf: { library: 'libx.so', compile: ['-fPIC', '-fvisibility=hidden'], shared: ['-Wl,-soname,libx.so'], program: ['-Wl,-rpath,$ORIGIN'] },
  pe: { library: 'x.dll', compile: [], shared: [], program: [] },
}

export interface Update {
  readonly folders: Readonly<Record<keyof typeof BUILDS, string>>
  readonly app: string
  readonly library: string
  readonly tool: string
  /** Has none of what changes. */
  readonly idle: string
}

export async function buildUpdateSubject(target: Target, place: string): Promise<Update> {
  const { library: libraryName, compile, shared, program } = MAKES[target.name]
  const flags = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', `-ffile-prefix-map=${clone}=.`, ...compile]
  rmSync(place, { recursive: true, force: true })
  const folders = { before: join(place, 'before'), after: join(place, 'after'), refused: join(place, 'refused') }
  for (const [build, defines] of Object.entries(BUILDS)) {
    const folder = folders[build as keyof typeof BUILDS]
    mkdirSync(folder, { recursive: true })
    for (const name of OBJECTS)
      await mustRun(target.compiler, [...flags, ...defines, '-c', join(SOURCES, `${name}.c`), '-o', join(folder, `${name}.o`)])
  }
  const object = (name: (typeof OBJECTS)[number]) => join(folders.before, `${name}.o`)
  const image = (name: string) => join(place, `${name}${target.programSuffix}`)
  const library = join(place, libraryName)
  await mustRun(target.compiler, ['-shared', object('lib'), '-o', library, ...shared])
  await mustRun(target.compiler, [object('app'), object('parse'), object('loop'), library, '-o', image('app'), ...program])
  await mustRun(target.compiler, [object('tool'), object('parse'), object('loop'), '-o', image('tool')])
  await mustRun(target.compiler, ['-shared', object('loop'), '-o', join(place, `idle-${libraryName}`)])
  return { folders, app: image('app'), library, tool: image('tool'), idle: join(place, `idle-${libraryName}`) }
}

export const lastLine = (server: Server): string => server.output().trimEnd().split(/\r?\n/).at(-1) ?? ''

/** Waits until a line begins so. */
export async function untilLine(server: Server, start: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) if (lastLine(server).startsWith(start)) return
  throw new Error(`no line "${start}…" came, the last was "${lastLine(server)}"`)
}
