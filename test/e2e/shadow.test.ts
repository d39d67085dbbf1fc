/** Shadow data: a patch attaches new state to old objects, the patch that takes its place finds it, and when it is undone it is gone. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Server, type Target, targets } from '../../demo/target.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { json, jsonBeside } from './hotpatch.ts'

const SOURCES = join(clone, 'test/e2e/shadow')
const AUTHOR = join(clone, 'author')
const VERSIONS = ['before', 'first', 'second'] as const

async function build(target: Target, place: string): Promise<string> {
  const flags = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', `-I${AUTHOR}`, ...target.compilerFlags]
  rmSync(place, { recursive: true, force: true })
  for (const version of VERSIONS) {
    mkdirSync(join(place, version), { recursive: true })
    await mustRun(target.compiler, [...flags, '-c', join(SOURCES, version, 'object.c'), '-o', join(place, version, 'object.o')])
    if (version !== 'before')
      await mustRun(target.compiler, [...flags, '-c', join(AUTHOR, 'hotpatch-shadow.c'), '-o', join(place, version, 'hotpatch-shadow.o')])
  }
  const program = join(place, `program${target.programSuffix}`)
  await mustRun(target.compiler, [...flags, join(SOURCES, 'program.c'), join(place, 'before/object.o'), '-o', program, ...target.linkFlags])
  return program
}

interface Line {
  readonly version: string
  /** By object: the greatest count that a thread was told, and how many it was told. */
  readonly counts: readonly (readonly [most: number, told: number])[]
}

/** The last whole line of that version, once there is one. */
async function lineOf(server: Server, version: string): Promise<Line> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(50)) {
    const words = server.output().split(/\r?\n/).slice(0, -1).at(-1)?.split(' ') ?? []
    if (words[0] !== version) continue
    const counts = words.slice(1).map((pair) => pair.split('/').map(Number) as [number, number])
    return { version, counts }
  }
  throw new Error(`no line of "${version}" came: ${server.output().slice(-300)}`)
}

const wine = wineAvailable()

describe.each(Object.values(targets))('$title: shadow data', (target) => {
  if (target.name === 'pe' && !wine.available) {
    test.skip(`needs Wine: ${wine.reason}`)
    return
  }
  const place = join(workshop, 'e2e', `shadow-${target.name}`)
  const patch = (version: string): string => join(place, `${version}${target.patchSuffix}`)
  let server: Server

  beforeAll(async () => {
    const program = await build(target, place)
    for (const [index, version] of VERSIONS.slice(1).entries()) {
      const [before, after] = [join(place, 'before'), join(place, version)]
      const sequence = `${index + 1}`
      const built = await json(
        'build',
        '--before',
        before,
        '--after',
        after,
        '--base',
        program,
        '-o',
        patch(version),
        '--sequence',
        sequence,
      )
      expect(built).toMatchObject({ outcome: 'built', exit: 0 })
    }
    server = await target.start(program, [])
    await lineOf(server, 'before')
  })
  afterAll(async () => {
    await server?.stop()
    await target.close()
  })

  const beside = (verb: string, ...args: string[]) => jsonBeside(target, verb, '--pid', `${server.pid}`, ...args)
  const apply = (version: string) => beside('apply', '--allow-unsigned', '--timeout', '60', target.path(patch(version)))

  test('the patch counts each object exactly, whichever threads touch it', async () => {
    expect(await apply('first')).toMatchObject({ outcome: 'applied', exit: 0 })
    await lineOf(server, 'first')
    await sleep(300)
    const { counts } = await lineOf(server, 'first')
    expect(counts.length).toBe(8)
    for (const [most, told] of counts) {
      expect(most).toBe(told)
      expect(most).toBeGreaterThan(0)
    }
  })

  test('the next patch goes on counting where the first one was', async () => {
    const before = await lineOf(server, 'first')
    const applied = await apply('second')
    expect(applied).toMatchObject({ outcome: 'applied', exit: 0 })
    expect(applied.result.superseded.kept).toContain('shadow_table')
    const { counts } = await lineOf(server, 'second')
    for (const [index, [most, told]] of counts.entries()) {
      expect(most).toBe(told)
      expect(most).toBeGreaterThan(before.counts[index]?.[0] ?? 0)
    }
  })

  test('undone, nothing is left of it, and applied again it begins anew', async () => {
    const rolledBack = await beside('rollback', '--timeout', '60')
    expect(rolledBack).toMatchObject({ outcome: 'rolled-back', exit: 0, result: { callouts: [{ operation: 'undone', outcome: 'done' }] } })
    const { counts } = await lineOf(server, 'before')
    expect(await apply('second')).toMatchObject({ outcome: 'applied', exit: 0 })
    const again = await lineOf(server, 'second')
    for (const [index, [, told]] of again.counts.entries()) expect(told).toBeGreaterThanOrEqual(counts[index]?.[1] ?? 0)
    expect(server.running()).toBe(true)
  })
})
