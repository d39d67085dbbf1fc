/** Functions that use thread-local variables are patched while threads count in them: every thread goes on from its own values, there and back. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { type Server, targets } from '../../demo/target.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { buildThreads, expectedLines, haveAll, linesOf, MAKES } from '../engine/threads.ts'
import { jsonBeside } from './hotpatch.ts'

const wine = wineAvailable()
const { pe } = targets

describe(`${pe.title}: thread-local data`, () => {
  if (!wine.available) {
    test.skip(`needs Wine: ${wine.reason}`)
    return
  }
  let server: Server | undefined
  const folders: string[] = []
  afterAll(() => pe.close())
  afterEach(async () => {
    await server?.stop()
    server = undefined
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
  })

  test.each(MAKES.pe)(
    '$title ($compiler.0)',
    async (make) => {
      const { folder, program, patch } = buildThreads(make)
      folders.push(folder)
      const file = join(folder, `patch${pe.patchSuffix}`)
      writeFileSync(file, patch('after'))
      server = await pe.start(program, [])
      await untilAll(server, 'old', 1)
      for (const version of ['new', 'old', 'new']) {
        const from = linesOf(server.output()).length
        const [outcome, ...args] = version === 'new' ? ['applied', 'apply', '--allow-unsigned', pe.path(file)] : ['rolled-back', 'rollback']
        const [verb = '', ...rest] = args
        expect(await jsonBeside(pe, verb, '--pid', `${server.pid}`, ...rest)).toMatchObject({ outcome, exit: 0 })
        await untilAll(server, version, from)
      }
      const lines = linesOf(server.output())
      expect(lines).toEqual(expectedLines(lines, make.fresh))
    },
    120_000,
  )
})

/** Waits until every thread has written a line of that version behind line `from`. */
async function untilAll(running: Server, version: string, from: number): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50))
    if (haveAll(linesOf(running.output()).slice(from), version)) return
  throw new Error(`not every thread wrote a "${version}" line: ${running.output().slice(-400)}`)
}
