/** A patch for a shared object and for a DLL: the program that uses it goes on, and the library's variables keep their values. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Server, targets } from '../../demo/target.ts'
import { workshop } from '../../tools/places.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { json, jsonBeside } from './hotpatch.ts'
import { buildLibrary, linesOf, untilLast } from './library.ts'

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
    const { host, library } = await buildLibrary(target, place)
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
