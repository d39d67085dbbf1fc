/**
 * The example of docs/author-guide.md: a fix that needs one more field in a structure brings it in a table beside, and its callback moves
 * over what the running program already knows.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { applyPatch, rollbackPatch, statusOf, verifyProcess } from '../../src/engine/index.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import type { Process } from '../../src/process/contract.ts'
import { hostBackend } from '../../src/process/host.ts'
import { NO_COMPILER, PATIENT } from '../brought.ts'
import { flavoursHere } from './flavours.ts'
import { buildMigration, MIGRATION_SOURCES, type Migration } from './migration.ts'
import { type Running, runCounting, sleep } from './target.ts'

const FIELDS = ['pid', 'running', 'letIn1', 'refused1', 'letIn5', 'refused5', 'failures5', 'rules'] as const

describe.skipIf(process.platform !== 'linux').each(flavoursHere('migration'))(
  'a callback that migrates a structure, $compiler $flags',
  (flavour) => {
    let built: Migration
    let server: Running<(typeof FIELDS)[number]>
    let target: Process

    beforeAll(() => {
      built = buildMigration(flavour)
    })
    afterAll(() => rmSync(built.folder, { recursive: true, force: true }))
    beforeEach(async () => {
      server = await runCounting(built, 3, FIELDS)
      target = (await hostBackend()).open(server.pid)
    })
    afterEach(async () => {
      target.close()
      await server.stop()
    })

    const settled = async (ms: number) => {
      await server.goesOn()
      return server.during(ms)
    }

    test('is exported, and found by the manifest', (context) => {
      if (NO_COMPILER !== undefined) return context.skip(NO_COMPILER)
      const file = join(built.folder, 'lock-out.so')
      writeFileSync(file, built.patch)
      const { manifest } = readPatchImage(built.patch)
      const names = execFileSync('nm', ['-D', '--defined-only', file], { encoding: 'utf8' })
      expect(names).toMatch(new RegExp(`^0*${manifest.callout?.toString(16)} T __PatchMainCallout__$`, 'm'))
    })

    test('what was known before the fix counts after it', async () => {
      expect(await settled(50)).toMatchObject({ refused1: 0, refused5: 0 })
      const applied = await applyPatch(target, readPatchImage(built.patch), PATIENT)
      expect(applied.callouts).toMatchObject([
        { operation: 'before', outcome: 'done' },
        { operation: 'after', outcome: 'done' },
      ])
      const fixed = await settled(100)
      expect(fixed).toMatchObject({ letIn5: 0, refused1: 0 })
      expect([fixed.refused5 > 0, fixed.letIn1 > 0]).toEqual([true, true])
      expect(verifyProcess(target).outcome).toBe('verified')

      expect(server.stats().failures5).toBe(7)
      expect((await rollbackPatch(target, PATIENT)).callouts).toMatchObject([{ operation: 'undone', outcome: 'done' }])
      const undone = await settled(100)
      expect([undone.letIn5 > 0, undone.refused5]).toEqual([true, 0])
      expect(server.stats().failures5).toBe(3)
    })

    test('it cancels the patch where it does not fit, and nothing has changed', async () => {
      // The server takes the number over from the file that it counts in.
      const [stats] = readdirSync(built.folder).filter((name) => name.startsWith('stats-'))
      const rules = (value: bigint): void => {
        const bytes = Buffer.alloc(8)
        bytes.writeBigUInt64LE(value)
        const file = openSync(join(built.folder, stats as string), 'r+')
        writeSync(file, bytes, 0, 8, 8 * FIELDS.indexOf('rules'))
        closeSync(file)
      }
      rules(2n)
      await sleep(50)
      await expect(applyPatch(target, readPatchImage(built.patch), PATIENT)).rejects.toMatchObject({
        code: 'CALLOUT_CANCELLED',
        facts: { result: 17 },
      })
      expect(await settled(50)).toMatchObject({ refused5: 0 })
      expect(statusOf(target).patches).toMatchObject([{ state: 'reverted' }])
      rules(1n)
      await sleep(50)
      expect((await applyPatch(target, readPatchImage(built.patch), PATIENT)).outcome).toBe('applied')
      expect(await settled(50)).toMatchObject({ letIn5: 0 })
    })
  },
)

test('the guide shows the example as it is', (context) => {
  if (NO_COMPILER !== undefined) return context.skip(NO_COMPILER)
  const guide = readFileSync(new URL('../../docs/author-guide.md', import.meta.url), 'utf8')
  expect(guide).toContain(readFileSync(join(MIGRATION_SOURCES, 'after/sessions.c'), 'utf8').trimEnd())
})
