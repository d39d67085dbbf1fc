/**
 * C++ across the boundary between base image and patch: overloads, templates, virtual functions, exceptions both ways, casts and type_info, which is
 * the base image's. The program itself says whether all went as it must (the bits of main.cc).
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { type Server, type TargetName, targets } from '../../demo/target.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { json, jsonBeside } from './hotpatch.ts'

const SOURCES = join(clone, 'test/e2e/cplusplus')

interface Make {
  readonly compiler: string
  readonly target: TargetName
  readonly link: readonly string[]
}

const MAKES: readonly Make[] = [
  { compiler: 'g++', target: 'elf', link: [] },
  { compiler: 'clang++-19', target: 'elf', link: [] },
  // The runtime is in the program: it unwinds with RtlUnwindEx, through frames of the patch too.
  { compiler: 'x86_64-w64-mingw32-g++', target: 'pe', link: ['-static'] },
]

const wine = wineAvailable()

describe.each(MAKES)('C++ by $compiler for $target', (make) => {
  const target = targets[make.target]
  if (make.target === 'pe' && !wine.available) {
    test.skip(`needs Wine: ${wine.reason}`)
    return
  }
  let server: Server | undefined
  afterAll(async () => {
    await server?.stop()
    await target.close()
  })

  test('there and back, nothing is told apart wrongly', async () => {
    const place = join(workshop, 'e2e', `cplusplus-${make.compiler}-${make.target}`)
    const [program, patch] = [join(place, `program${target.programSuffix}`), join(place, `patch${target.patchSuffix}`)]
    await build(make, place, program)
    const [before, after] = [join(place, 'before'), join(place, 'after')]
    const built = await json('build', '--before', before, '--after', after, '--base', program, '-o', patch, '--id', 'parts')
    expect(built.outcome, JSON.stringify(built.error)).toBe('built')
    server = await target.start(program, [])
    const running = server
    const beside = (verb: string, ...args: string[]) => jsonBeside(target, verb, '--pid', `${running.pid}`, ...args)
    await until(running, 'old')
    expect(await beside('apply', '--allow-unsigned', target.path(patch))).toMatchObject({ outcome: 'applied', exit: 0 })
    await until(running, 'new')
    expect(await beside('rollback')).toMatchObject({ outcome: 'rolled-back', exit: 0 })
    await until(running, 'old')
    const lines = linesOf(running)
    // A switch in the middle of a round mixes the versions' results: two rounds at most.
    const wrong = lines.filter((line) => !/^(old|new) 0$/.test(line))
    expect(wrong.length, wrong.join()).toBeLessThanOrEqual(2)
    expect(lines.filter((line) => line === 'new 0').length).toBeGreaterThan(3)
  }, 180_000)
})

async function build({ compiler, link }: Make, place: string, program: string): Promise<void> {
  rmSync(place, { recursive: true, force: true })
  const flags = ['-std=c++17', '-O2', '-g', '-ffunction-sections', '-fdata-sections', `-I${SOURCES}`, `-ffile-prefix-map=${clone}=.`]
  for (const version of ['before', 'after']) {
    mkdirSync(join(place, version), { recursive: true })
    const compile = (source: string, object: string) => mustRun(compiler, [...flags, '-c', source, '-o', object])
    await compile(join(SOURCES, version, 'parts.cc'), join(place, version, 'parts.o'))
    await compile(join(SOURCES, 'main.cc'), join(place, version, 'main.o'))
  }
  await mustRun(compiler, [join(place, 'before/parts.o'), join(place, 'before/main.o'), ...link, '-o', program])
}

const linesOf = (server: Server): string[] => server.output().split(/\r?\n/).slice(0, -1)

/** Waits until ten rounds with that version's functions have gone well, behind what has been written by now. */
async function until(server: Server, version: string): Promise<void> {
  const from = linesOf(server).length
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50))
    if (
      linesOf(server)
        .slice(from)
        .filter((line) => line === `${version} 0`).length >= 10
    )
      return
  throw new Error(`no good "${version}" lines came: ${server.output().slice(-200)}`)
}
