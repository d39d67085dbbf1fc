/**
 * The Windows backend against real PE processes: the conformance suite and the cases that only Windows has run in Windows' own Node
 * inside Wine, and each is a test here.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { CONFORMANCE_CASES } from '../../src/process/testing/conformance.ts'
import { DYING_CASES, WATCHDOG_CASES } from '../../src/process/testing/watchdog-cases.ts'
import { WINDOWS_CASES } from '../../src/process/testing/windows-cases.ts'
import { appInWine, runInWine, shutdownWine, spawnInWine, windowsPath, wineAvailable } from '../../tools/wine.mjs'

const CLONE = fileURLToPath(new URL('../..', import.meta.url))
const COMPILER = 'x86_64-w64-mingw32-gcc'
/** As in tsconfig.windows.json. */
const COMPILED = join(CLONE, '.cache/windows-tests')
const TIMEOUT = 280_000

interface CaseResult {
  readonly name: string
  readonly error?: string
  readonly milliseconds: number
}

const wine = wineAvailable()
const reason = wine.available ? missingCompiler() : `${wine.reason}: ${wine.install}`
const results = new Map<string, CaseResult>()
let spawned: { pid: number; itself: number } | undefined

function missingCompiler(): string | undefined {
  const found = (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, COMPILER)))
  return found ? undefined : `${COMPILER} is not installed`
}

beforeAll(async () => {
  if (reason !== undefined) return
  execFileSync('npx', ['tsc', '-p', 'test/process/tsconfig.windows.json'], { cwd: CLONE, stdio: 'pipe' })
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-windows-'))
  try {
    const target = join(folder, 'conformance.exe')
    execFileSync(COMPILER, ['-O2', join(CLONE, 'test/targets/conformance.c'), '-o', target], { stdio: 'pipe' })
    spawned = await pidsOf(target, join(folder, 'spawned.json'))
    const lines = join(folder, 'results.jsonl')
    const main = await appInWine(COMPILED, 'process/testing/run-on-windows.js')
    const run = await runInWine([...main, windowsPath(target), windowsPath(lines)], { timeout: TIMEOUT })
    for (const line of existsSync(lines) ? readFileSync(lines, 'utf8').trim().split('\n') : []) {
      const result = JSON.parse(line) as CaseResult
      results.set(result.name, result)
    }
    if (run.status !== 0) console.error(`the run in Wine ended with ${run.status}${run.timedOut ? ' (timeout)' : ''}:\n${run.stderr}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}, TIMEOUT + 20_000)

/** The pid of a program as spawnInWine and as the program itself know it. */
async function pidsOf(exe: string, output: string): Promise<{ pid: number; itself: number }> {
  const program = await spawnInWine(exe, [windowsPath(output)])
  try {
    return await vi.waitFor(() => ({ pid: program.pid, itself: (JSON.parse(readFileSync(output, 'utf8')) as { pid: number }).pid }), {
      timeout: 60_000,
    })
  } finally {
    await program.stop()
  }
}

afterAll(() => shutdownWine())

describe.skipIf(reason !== undefined)(`the Windows backend conforms, in Wine${reason ? ` (skipped: ${reason})` : ''}`, () => {
  test.each([...CONFORMANCE_CASES, ...WINDOWS_CASES, ...WATCHDOG_CASES, ...DYING_CASES].map(({ name }) => name))('%s', (name) => {
    const result = results.get(name)
    expect(result, 'the case did not come to its end').toBeDefined()
    if (result?.error !== undefined) throw new Error(result.error)
  })
})

test.skipIf(reason !== undefined)('a program started in Wine is known by the pid that it sees itself', () => {
  expect(spawned?.pid).toBeGreaterThan(0)
  expect(spawned?.pid).toBe(spawned?.itself)
})
