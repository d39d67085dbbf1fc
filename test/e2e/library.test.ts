/** A patch for a shared object and for a DLL: the program that uses it goes on, and the library's variables keep their values. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Server, type Target, type TargetName, targets } from '../../demo/target.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { json, jsonBeside } from './hotpatch.ts'

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

async function build(target: Target, place: string): Promise<{ host: string; library: string }> {
  const make = MAKES[target.name]
  const flags = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', `-I${SOURCES}`, `-ffile-prefix-map=${clone}=.`, ...make.compile]
  rmSync(place, { recursive: true, force: true })
  for (const version of ['before', 'after']) {
    mkdirSync(join(place, version), { recursive: true })
    await mustRun(target.compiler, [...flags, '-c', join(SOURCES, version, 'counter.c'), '-o', join(place, version, 'counter.o')])
  }
  const library = join(place, make.library)
  const host = join(place, `host${target.programSuffix}`)
  await mustRun(target.compiler, [join(place, 'before/counter.o'), '-o', library, ...make.link])
  await mustRun(target.compiler, ['-O2', `-I${SOURCES}`, join(SOURCES, 'host.c'), library, '-o', host, ...make.linkHost])
  return { host, library }
}

interface Line {
  readonly version: string
  readonly count: number
  readonly scaled: number
  readonly sum: number
}

function linesOf(server: Server): Line[] {
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
async function untilLast(server: Server, version: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) if (linesOf(server).at(-1)?.version === version) return
  throw new Error(`no "${version}" line came: ${JSON.stringify(linesOf(server).slice(-3))}`)
}

const wine = wineAvailable()

describe.each(Object.values(targets))('$title: a library of a running program', (target) => {
  if (target.name === 'pe' && !wine.available) {
    test.skip(`needs Wine: ${wine.reason}`)
    return
  }
  const place = join(workshop, 'e2e', `library-${target.name}`)
  const patch = join(place, `patch${target.patchSuffix}`)
  let server: Server

  beforeAll(async () => {
    const { host, library } = await build(target, place)
    await json(
      'build',
      '--before',
      join(place, 'before'),
      '--after',
      join(place, 'after'),
      '--base',
      library,
      '-o',
      patch,
      '--id',
      'counter',
    )
    server = await target.start(host, [])
    await untilLast(server, 'old')
  })
  afterAll(async () => {
    await server?.stop()
    await target.close()
  })
  const beside = (verb: string, ...args: string[]) => jsonBeside(target, verb, '--pid', `${server.pid}`, ...args)

  test('apply, rollback, apply', async () => {
    expect(await beside('apply', '--allow-unsigned', target.path(patch))).toMatchObject({ outcome: 'applied', exit: 0 })
    await untilLast(server, 'new')
    expect(await beside('verify')).toMatchObject({ outcome: 'verified', exit: 0 })
    expect(await beside('rollback')).toMatchObject({ outcome: 'rolled-back', exit: 0 })
    await untilLast(server, 'old')
    expect(await beside('apply', '--allow-unsigned', target.path(patch))).toMatchObject({ outcome: 'applied', exit: 0 })
    await untilLast(server, 'new')
  })

  test('no line is missing, and every number is right for its version', () => {
    const lines = linesOf(server)
    expect(lines.map(({ count }) => count)).toEqual(lines.map((_, index) => index + 1))
    for (const { version, count, scaled } of lines) expect(scaled).toBe(count * (version === 'old' ? 3 : 5))
    let sum = 0
    // snprintf's arguments may be read before or after the call that adds: the sum is this count's or the last one's.
    for (const line of lines) {
      expect([sum, sum + line.count]).toContain(line.sum)
      sum += line.count
    }
  })
})
