/** The conformance suite's host on Linux. The target is test/targets/conformance.c. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { linuxBackend } from '../linux/index.ts'
import { numbersIn, parseStat, parseStatus, readProc } from '../linux/proc.ts'
import { startOtherEngine } from './other-engine.ts'
import type { ConformanceHost, StartedTarget, TargetSymbols } from './target.ts'

export const linuxHost = (program: string): ConformanceHost => ({
  backend: linuxBackend,
  showsNames: true,
  start: () => start(program),
  startEngine: startOtherEngine,
  isAttached: (pid) => Number(parseStatus(readProc(`/proc/${pid}/status`) ?? '').get('TracerPid') ?? 0) !== 0,
})

/** Not as our child (a shell that ends at once is its parent): the system tells a parent and a tracer of stops by the same call. */
async function start(program: string): Promise<StartedTarget> {
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'))
  const out = join(folder, 'out')
  const shell = spawn('sh', ['-c', '"$1" >"$2" 2>&1 </dev/null & echo $!', 'sh', program, out], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  for await (const chunk of shell.stdout) text += chunk
  const pid = Number(text)
  await until('it printed its addresses', () => existsSync(out) && readFileSync(out, 'utf8').endsWith('\n'))
  const { symbols } = JSON.parse(readFileSync(out, 'utf8')) as { symbols: Record<string, string> }
  return {
    pid,
    moduleName: basename(program),
    symbols: Object.fromEntries(Object.entries(symbols).map(([key, value]) => [key, BigInt(value)])) as TargetSymbols,
    settle: () => sleep(2),
    async kill() {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended already.
      }
      await until('it has ended', () => hasEnded(pid))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Its main thread is a zombie while others still end; memory goes with the last of them, which is listed a moment longer. */
function hasEnded(pid: number): boolean {
  const state = parseStat(readProc(`/proc/${pid}/stat`) ?? '')?.state
  const isEnding = state === undefined || state === 'Z' || state === 'X'
  return isEnding && (readProc(`/proc/${pid}/maps`) ?? '') === '' && numbersIn(`/proc/${pid}/task`).length <= 1
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !condition(); await sleep(2))
    if (Date.now() > deadline) throw new Error(`the target did not come to: ${what}`)
}
