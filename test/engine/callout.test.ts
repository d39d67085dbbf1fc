/**
 * The example of docs/author-guide.md: a fix that needs one more field in a structure brings it in a table beside, and its callback moves
 * over what the running program already knows.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { buildPatch } from '../../src/builder/build.ts'
import { applyPatch, rollbackPatch, statusOf, verifyProcess } from '../../src/engine/index.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import type { Process } from '../../src/process/contract.ts'
import { hostBackend } from '../../src/process/host.ts'
import { type Flavour, type Running, runCounting, sleep } from './target.ts'

const SOURCES = fileURLToPath(new URL('migration/', import.meta.url))
const FIELDS = ['pid', 'running', 'letIn1', 'refused1', 'letIn5', 'refused5', 'failures5', 'rules'] as const
const FLAVOURS: readonly Flavour[] = [
  { compiler: 'gcc', flags: [] },
  { compiler: 'clang-19', flags: ['-fpatchable-function-entry=16,16'] },
]

function build({ compiler, flags }: Flavour): { folder: string; server: string; patch: Uint8Array } {
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-migration-'))
  const compile = (source: string, out: string) =>
    execFileSync(compiler, ['-O2', '-g', ...flags, '-c', join(SOURCES, source), '-o', join(folder, out)])
  for (const side of ['before', 'after']) {
    mkdirSync(join(folder, side))
    compile(`${side}/sessions.c`, `${side}/sessions.o`)
  }
  compile('server.c', 'server.o')
  const server = join(folder, 'server')
  execFileSync(compiler, [
    ...flags,
    '-pthread',
    join(folder, 'server.o'),
    join(folder, 'before/sessions.o'),
    '-Wl,--build-id=sha1',
    '-o',
    server,
  ])
  const built = buildPatch({
    before: join(folder, 'before'),
    after: join(folder, 'after'),
    base: server,
    sequence: 1,
    id: 'lock-out',
    description: '',
    cves: [],
  })
  if (built.outcome !== 'built') throw new Error('the builder found nothing to patch')
  return { folder, server, patch: built.image }
}

describe.skipIf(process.platform !== 'linux').each(FLAVOURS)('a callback that migrates a structure, $compiler $flags', (flavour) => {
  let built: ReturnType<typeof build>
  let server: Running<(typeof FIELDS)[number]>
  let target: Process

  beforeAll(() => {
    built = build(flavour)
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
    await sleep(20)
    return server.during(ms)
  }

  test('is exported, and found by the manifest', () => {
    const file = join(built.folder, 'lock-out.so')
    writeFileSync(file, built.patch)
    const { manifest } = readPatchImage(built.patch)
    const names = execFileSync('nm', ['-D', '--defined-only', file], { encoding: 'utf8' })
    expect(names).toMatch(new RegExp(`^0*${manifest.callout?.toString(16)} T __PatchMainCallout__$`, 'm'))
  })

  test('what was known before the fix counts after it', async () => {
    expect(await settled(50)).toMatchObject({ refused1: 0, refused5: 0 })
    const applied = await applyPatch(target, readPatchImage(built.patch))
    expect(applied.callouts).toMatchObject([
      { operation: 'before', outcome: 'done' },
      { operation: 'after', outcome: 'done' },
    ])
    const fixed = await settled(100)
    expect(fixed).toMatchObject({ letIn5: 0, refused1: 0 })
    expect([fixed.refused5 > 0, fixed.letIn1 > 0]).toEqual([true, true])
    expect(verifyProcess(target).outcome).toBe('verified')

    expect(server.stats().failures5).toBe(7)
    expect((await rollbackPatch(target)).callouts).toMatchObject([{ operation: 'undone', outcome: 'done' }])
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
    await expect(applyPatch(target, readPatchImage(built.patch))).rejects.toMatchObject({
      code: 'CALLOUT_CANCELLED',
      facts: { result: 17 },
    })
    expect(await settled(50)).toMatchObject({ refused5: 0 })
    expect(statusOf(target).patches).toMatchObject([{ state: 'reverted' }])
    rules(1n)
    await sleep(50)
    expect((await applyPatch(target, readPatchImage(built.patch))).outcome).toBe('applied')
    expect(await settled(50)).toMatchObject({ letIn5: 0 })
  })
})

test('the guide shows the example as it is', () => {
  const guide = readFileSync(new URL('../../docs/author-guide.md', import.meta.url), 'utf8')
  expect(guide).toContain(readFileSync(join(SOURCES, 'after/sessions.c'), 'utf8').trimEnd())
})
