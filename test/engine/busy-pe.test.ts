/** Functions that are on stacks of a PE process, in Wine: refused by name, or waited for, never patched underneath. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Job, JobResult } from '../../src/engine/testing/run-on-windows.ts'
import { appInWine, runInWine, shutdownWine, spawnInWine, type WineProcess, windowsPath, wineAvailable } from '../../tools/wine.mjs'
import { readMemory, writeMemory } from '../e2e/memory.ts'
import { until } from '../process/targets.ts'
import { buildPair, type Pair } from './pair.ts'

const CLONE = fileURLToPath(new URL('../..', import.meta.url))
/** As in tsconfig.windows.json. */
const COMPILED = join(CLONE, '.cache/windows-engine')
const COMPILER = 'x86_64-w64-mingw32-gcc'
/** As in busy-pe/main.c. */
const FIELDS = ['function', 'in_ms', 'out_ms', 'running', 'staying', 'old', 'fixed', 'bad', 'again'] as const
const FUNCTIONS = ['slow', 'sorts', 'allocates', 'faults'] as const
const THREADS = 2
const LONG = 600_000

const wine = wineAvailable()
const missing = !wine.available || spawnSync(COMPILER, ['--version']).status !== 0

describe.skipIf(missing)('busy functions of a PE process', () => {
  let pair: Pair
  let patch: string
  let running: WineProcess
  let control: number
  let serial = 0

  beforeAll(() => {
    execFileSync('npx', ['tsc', '-p', 'test/engine/tsconfig.windows.json'], { cwd: CLONE, stdio: 'pipe' })
    pair = buildPair({ sources: 'busy-pe', files: ['main.c', 'slow.c'], compiler: COMPILER, program: 'program.exe' })
    patch = join(pair.folder, 'patch.dll')
    writeFileSync(patch, pair.bytes())
  })
  afterAll(async () => {
    await shutdownWine()
    rmSync(pair.folder, { recursive: true, force: true })
  })
  beforeEach(async () => {
    const output = join(pair.folder, `control-${++serial}.json`)
    running = await spawnInWine(pair.program, [windowsPath(output), String(THREADS)])
    await until('it said where its words are', () => existsSync(output) && readFileSync(output, 'utf8').endsWith('\n'), 60_000)
    control = Number((JSON.parse(readFileSync(output, 'utf8')) as { control: string }).control)
    await until('the workers run', () => get('running') === THREADS)
  })
  afterEach(() => running.stop())

  const at = (field: (typeof FIELDS)[number]) => control + 8 * FIELDS.indexOf(field)
  const get = (field: (typeof FIELDS)[number]): number => Number(readMemory(running.linuxPid, at(field), 8).readBigUInt64LE(0))
  function set(field: (typeof FIELDS)[number], value: number): void {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(value))
    writeMemory(running.linuxPid, at(field), bytes)
  }

  async function stayIn(name: (typeof FUNCTIONS)[number]): Promise<void> {
    set('function', FUNCTIONS.indexOf(name))
    set('in_ms', LONG)
    await until(`all are in ${name}`, () => get('staying') === THREADS)
  }

  async function engine(...jobs: Omit<Job, 'pid' | 'patch'>[]): Promise<JobResult[]> {
    const [input, output] = [join(pair.folder, `jobs-${++serial}.json`), join(pair.folder, `results-${serial}.jsonl`)]
    writeFileSync(input, JSON.stringify(jobs.map((job) => ({ ...job, pid: running.pid, patch: windowsPath(patch) }))))
    const main = await appInWine(COMPILED, 'engine/testing/run-on-windows.js')
    const { status, stderr } = await runInWine([...main, windowsPath(input), windowsPath(output)], { timeout: 120_000 })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    return readFileSync(output, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as JobResult)
  }

  test.each(FUNCTIONS)('threads that sleep in %s: refused, each named with function and depth', async (name) => {
    await stayIn(name)
    const [result] = await engine({ verb: 'apply', timeoutMs: 1500 })
    if (result === undefined || !('error' in result)) throw new Error(`it was not refused: ${JSON.stringify(result)}`)
    const { code, facts, detail } = result.error
    expect(code).toBe('BUSY')
    const { threads } = facts as { threads: { thread: { id: number }; function: string; depth: number; found: string }[] }
    expect(threads.map((t) => t.function)).toEqual([name, name])
    for (const { thread, depth } of threads) {
      expect(depth).toBeGreaterThanOrEqual(2)
      expect(detail).toContain(`thread ${thread.id}`)
    }
    // What Wine does on the way from an exception to its handler is not described in all its versions.
    if (name !== 'faults') expect(threads.map(({ found }) => found)).toEqual(['unwinding', 'unwinding'])
  })

  test('threads that come and go are waited for; then those that are hardly ever outside, on the way back', async () => {
    set('in_ms', 30)
    set('out_ms', 60)
    const [applied] = await engine({ verb: 'apply', timeoutMs: 30_000 })
    expect(applied).toMatchObject({ report: { outcome: 'applied', stop: { consistency: 'patch', way: 'stop' } } })
    await until('new results', () => get('fixed') > 4)
    expect(get('bad')).toBe(0)
    const [undone] = await engine({ verb: 'rollback', timeoutMs: 30_000, waitForReturn: true })
    expect(undone).toMatchObject({ report: { outcome: 'rolled-back' } })
    const old = get('old')
    await until('old results', () => get('old') > old + 4)
    expect(get('bad')).toBe(0)
  })

  test('threads inside the patch: rolling back is refused unless consistency is not asked for', async () => {
    set('out_ms', 50)
    await engine({ verb: 'apply', timeoutMs: 30_000 })
    await stayIn('allocates')
    const [refused, undone] = await engine(
      { verb: 'rollback', timeoutMs: 1000 },
      { verb: 'rollback', timeoutMs: 1000, consistency: 'none' },
    )
    expect(refused).toMatchObject({ error: { code: 'BUSY', facts: { function: 'allocates' } } })
    expect(undone).toMatchObject({ report: { outcome: 'rolled-back' } })
  })
})
