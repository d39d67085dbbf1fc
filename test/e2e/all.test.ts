/** `--all`: every process that maps the base image, each with its own outcome. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Server, targets } from '../../demo/target.ts'
import { workshop } from '../../tools/places.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { json, jsonBeside } from './hotpatch.ts'
import { buildLibrary, untilLast } from './library.ts'

const wine = wineAvailable()

describe.each(Object.values(targets))('$title: all processes that use a library', (target) => {
  if (target.name === 'pe' && !wine.available) {
    test.skip(`needs Wine: ${wine.reason}`)
    return
  }
  const place = join(workshop, 'e2e', `all-${target.name}`)
  const patch = join(place, `patch${target.patchSuffix}`)
  // Of its own, so that no other run of these tests on the machine has processes that this one would find.
  const id = `counter-${randomBytes(4).toString('hex')}`
  const servers: Server[] = []
  let host: string

  const start = async () => {
    const server = await target.start(host, [])
    servers.push(server)
    await untilLast(server, 'old')
    return server
  }

  beforeAll(async () => {
    const buildId = `-Wl,--build-id=0x${randomBytes(16).toString('hex')}`
    const built = await buildLibrary(target, place, { linkFlags: [buildId] })
    host = built.host
    const [before, after] = [join(place, 'before'), join(place, 'after')]
    await json('build', '--before', before, '--after', after, '--base', built.library, '-o', patch, '--id', id)
    for (let i = 0; i < 3; i++) await start()
  })
  afterAll(async () => {
    for (const server of servers) await server.stop()
    await target.close()
  })
  const everywhere = (verb: string, ...args: string[]) => jsonBeside(target, verb, '--all', ...args)
  const pids = () => servers.map(({ pid }) => pid).sort((a, b) => a - b)
  const reached = ({ result }: Awaited<ReturnType<typeof everywhere>>) =>
    (result.processes as { pid: number; outcome: string }[]).map(({ pid, outcome }) => ({ pid, outcome })).sort((a, b) => a.pid - b.pid)
  const each = (outcome: string) => pids().map((pid) => ({ pid, outcome }))

  test('check looks at every one', async () => {
    const answer = await everywhere('check', target.path(patch))
    expect(answer).toMatchObject({ command: 'check --all', outcome: 'would-apply', exit: 0 })
    expect(reached(answer)).toEqual(each('would-apply'))
  })

  test('apply reaches every one, and every one has the fix', async () => {
    const answer = await everywhere('apply', '--allow-unsigned', target.path(patch))
    expect(answer).toMatchObject({ command: 'apply --all', outcome: 'applied', exit: 0, result: { id, counts: { applied: 3 } } })
    expect(reached(answer)).toEqual(each('applied'))
    for (const server of servers) await untilLast(server, 'new')
  })

  test('one that is started later is the only one that is left to do; one that has ended is no error', async () => {
    await servers.shift()?.stop()
    const late = await start()
    const answer = await everywhere('apply', '--allow-unsigned', target.path(patch))
    expect(answer).toMatchObject({ outcome: 'applied', exit: 0, result: { counts: { applied: 1, 'already-applied': 2 } } })
    expect(reached(answer)).toEqual(pids().map((pid) => ({ pid, outcome: pid === late.pid ? 'applied' : 'already-applied' })))
    await untilLast(late, 'new')
  })

  test('verify finds every one intact', async () => {
    const answer = await everywhere('verify', '--id', id)
    expect(answer).toMatchObject({ outcome: 'verified', exit: 0 })
    expect(reached(answer)).toEqual(each('verified'))
  })

  test('rollback wants to know of which patch, and undoes it everywhere', async () => {
    expect(await everywhere('rollback')).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
    const answer = await everywhere('rollback', '--id', id, '--name', `host${target.programSuffix}`)
    expect(answer).toMatchObject({ outcome: 'rolled-back', exit: 0, result: { counts: { 'rolled-back': 3 } } })
    expect(reached(answer)).toEqual(each('rolled-back'))
    for (const server of servers) await untilLast(server, 'old')
  })

  test('processes of another name are left alone', async () => {
    const answer = await everywhere('apply', '--allow-unsigned', '--name', 'nobody-has-it', target.path(patch))
    expect(answer).toMatchObject({ outcome: 'nothing-found', exit: 0, result: { processes: [], looked: 0 } })
  })
})
