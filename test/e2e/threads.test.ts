/** Functions that use thread-local variables are patched while threads count in them: every thread goes on from its own values, there and back. */
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { type Server, targets } from '../../demo/target.ts'
import { ensureWine, wineAvailable } from '../../tools/wine.mjs'
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
    if (server !== undefined) await removeDlls(server.pid)
    server = undefined
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
  })

  test.each(MAKES.pe)(
    '$title ($compiler.0)',
    async (make) => {
      const { folder, program, patch } = buildThreads(make)
      folders.push(folder)
      const patches = { new: join(folder, `first${pe.patchSuffix}`), later: join(folder, `second${pe.patchSuffix}`) }
      writeFileSync(patches.new, patch('after'))
      writeFileSync(patches.later, patch('later'))
      const running = await pe.start(program, [])
      server = running
      const become = async (version: 'new' | 'later' | 'old', verb: string, ...args: string[]) => {
        const from = linesOf(running.output()).length
        const answer = await jsonBeside(pe, verb, '--pid', `${running.pid}`, ...args)
        await untilAll(running, version, from)
        return answer
      }
      const apply = (version: 'new' | 'later') => become(version, 'apply', '--allow-unsigned', pe.path(patches[version]))
      await untilAll(running, 'old', 1)
      expect(await apply('new')).toMatchObject({ outcome: 'applied', exit: 0 })
      const superseding = await apply('later')
      expect(superseding).toMatchObject({ outcome: 'applied', exit: 0 })
      expect((superseding.result.superseded.kept as string[]).map(unmangled).toSorted()).toEqual(['counter_fresh', 'late'])
      expect(await become('old', 'rollback')).toMatchObject({ outcome: 'rolled-back', exit: 0 })
      // Its variables begin anew.
      expect(await apply('new')).toMatchObject({ outcome: 'applied', exit: 0 })
      const lines = linesOf(running.output())
      expect(lines).toEqual(expectedLines(lines, make.fresh))
    },
    120_000,
  )
})

/** Into its folder for temporary files the process has put DLLs, which outlive it. */
async function removeDlls(pid: number): Promise<void> {
  const { prefix } = await ensureWine()
  const users = join(prefix, 'drive_c/users')
  for (const folder of readdirSync(users).map((user) => join(users, user, 'Temp')))
    for (const name of existsSync(folder) ? readdirSync(folder) : [])
      if (name.startsWith(`hotpatch-thread-local-${pid}-`)) rmSync(join(folder, name))
}

/** gcc's emulation has a variable for each, by such a name. */
const unmangled = (name: string): string => name.replace(/^__emutls_v\./, '')

/** Waits until every thread has written a line of that version behind line `from`. */
async function untilAll(running: Server, version: string, from: number): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50))
    if (haveAll(linesOf(running.output()).slice(from), version)) return
  throw new Error(`not every thread wrote a "${version}" line: ${running.output().slice(-400)}`)
}
