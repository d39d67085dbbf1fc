/** Functions that use thread-local variables are patched while threads count in them: every thread goes on from its own values, there and back. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { type Server, targets } from '../../demo/target.ts'
import { workshop } from '../../tools/places.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { json, jsonBeside } from './hotpatch.ts'
import { buildThreads, type Line, linesOf, MAKES } from './threads.ts'

const THREADS = [1, 2, 3]
const SHORT_LIVED = 4

const wine = wineAvailable()

describe.each(Object.values(targets))('$title: thread-local data of the base image', (target) => {
  if (target.name === 'pe' && !wine.available) {
    test.skip(`needs Wine: ${wine.reason}`)
    return
  }
  let server: Server | undefined
  afterAll(() => target.close())
  afterEach(async () => {
    await server?.stop()
    server = undefined
  })

  const makes = MAKES.filter((make) => make.target === target.name)
  test.each(makes.map((make, i) => ({ ...make, place: join(workshop, 'e2e', `threads-${target.name}-${i}`) })))(
    '$title ($compiler.0)',
    async (make) => {
      const { base, program } = await buildThreads(make, make.place)
      const patch = join(make.place, `patch${target.patchSuffix}`)
      const [before, after] = [join(make.place, 'before'), join(make.place, 'after')]
      const built = await json('build', '--before', before, '--after', after, '--base', base, '-o', patch, '--id', 'counter')
      expect(built.outcome, JSON.stringify(built.error)).toBe('built')
      server = await target.start(program, [])
      await untilAll(server, 'old', 1)
      for (const version of ['new', 'old', 'new']) {
        const from = linesOf(server.output()).length
        const [outcome, ...args] =
          version === 'new' ? ['applied', 'apply', '--allow-unsigned', target.path(patch)] : ['rolled-back', 'rollback']
        const [verb = '', ...rest] = args
        expect(await jsonBeside(target, verb, '--pid', `${server.pid}`, ...rest)).toMatchObject({ outcome, exit: 0 })
        await untilAll(server, version, from)
      }
      const lines = linesOf(server.output())
      for (const thread of THREADS)
        check(
          lines.filter((line) => line.thread === thread),
          make.fresh,
        )
      // Each was the first of its thread.
      for (const line of lines.filter(({ thread }) => thread === SHORT_LIVED)) check([line], make.fresh)
    },
    120_000,
  )
})

/** Waits until every thread has written a line of that version behind line `from`. */
async function untilAll(server: Server, version: string, from: number): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) {
    const lines = linesOf(server.output()).slice(from)
    if (THREADS.every((thread) => lines.some((line) => line.thread === thread && line.version === version))) return
  }
  throw new Error(`not every thread wrote a "${version}" line: ${server.output().slice(-400)}`)
}

/** One thread's lines: no count is missing, whichever version counted. */
function check(lines: readonly Line[], hasFresh: boolean): void {
  const thread = lines[0]?.thread ?? 0
  let since = 0
  lines.forEach((line, i) => {
    const added = line.version === 'new' ? 100_000 : 0
    since = line.version === 'new' ? since + 1 : 0
    expect(line).toEqual({
      version: line.version,
      thread,
      shared: i + 1,
      visible: 1000 + i + 1 + added,
      own: i + 1,
      within: 7000 + i + 1,
      byte: thread,
      fresh: hasFresh && line.version === 'new' ? 500 + since : 0,
      filling: 'filling',
    })
  })
}
