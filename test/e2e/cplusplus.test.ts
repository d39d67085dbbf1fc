/**
 * C++ across the boundary between base image and patch: overloads, templates, virtual functions, exceptions both ways, casts and type_info, which is
 * the base image's. The program itself says whether all went as it must (the bits of main.cc).
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { type Server, targets } from '../../demo/target.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { json } from './hotpatch.ts'

const SOURCES = join(clone, 'test/e2e/cplusplus')
const target = targets.elf

describe.each(['g++', 'clang++-19'])('C++ by %s', (compiler) => {
  let server: Server | undefined
  afterAll(() => server?.stop())

  test('there and back, nothing is told apart wrongly', async () => {
    const place = join(workshop, 'e2e', `cplusplus-${compiler}`)
    const [program, patch] = [join(place, 'program'), join(place, 'patch.so')]
    await build(compiler, place, program)
    const [before, after] = [join(place, 'before'), join(place, 'after')]
    await json('build', '--before', before, '--after', after, '--base', program, '-o', patch, '--id', 'parts')
    server = await target.start(program, [])
    const running = server
    await until(running, 'old')
    expect(await json('apply', '--pid', `${running.pid}`, '--allow-unsigned', patch)).toMatchObject({ outcome: 'applied', exit: 0 })
    await until(running, 'new')
    expect(await json('rollback', '--pid', `${running.pid}`)).toMatchObject({ outcome: 'rolled-back', exit: 0 })
    await until(running, 'old')
    const lines = running.output().split('\n').slice(0, -1)
    // A switch in the middle of a round mixes the versions' results: two rounds at most.
    const wrong = lines.filter((line) => !/^(old|new) 0$/.test(line))
    expect(wrong.length, wrong.join()).toBeLessThanOrEqual(2)
    expect(lines.filter((line) => line === 'new 0').length).toBeGreaterThan(3)
  }, 120_000)
})

async function build(compiler: string, place: string, program: string): Promise<void> {
  rmSync(place, { recursive: true, force: true })
  const flags = ['-std=c++17', '-O2', '-g', '-ffunction-sections', '-fdata-sections', `-I${SOURCES}`, `-ffile-prefix-map=${clone}=.`]
  for (const version of ['before', 'after']) {
    mkdirSync(join(place, version), { recursive: true })
    await mustRun(compiler, [...flags, '-c', join(SOURCES, version, 'parts.cc'), '-o', join(place, version, 'parts.o')])
    await mustRun(compiler, [...flags, '-c', join(SOURCES, 'main.cc'), '-o', join(place, version, 'main.o')])
  }
  await mustRun(compiler, [join(place, 'before/parts.o'), join(place, 'before/main.o'), '-o', program])
}

/** Waits until ten rounds with that version's functions have gone well, behind what has been written by now. */
async function until(server: Server, version: string): Promise<void> {
  const from = server.output().length
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50))
    if (server.output().slice(from).split(`${version} 0\n`).length > 10) return
  throw new Error(`no good "${version}" lines came: ${server.output().slice(-200)}`)
}
