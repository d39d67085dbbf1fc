/** An engine in a program of its own, which takes the lock of process PID, makes the file READY and waits to be killed. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { persistently } from '../../os/persistently.ts'
import { hostBackend } from '../host.ts'
import type { OtherEngine } from './target.ts'

const SCRIPT = import.meta.filename

if (process.argv[1] === SCRIPT) void main(process.argv.slice(2) as [string, string])

async function main([pid, ready]: readonly [string, string]): Promise<void> {
  const target = (await hostBackend()).open(Number(pid))
  target.lock()
  writeFileSync(ready, '')
  await sleep(300_000)
}

/** Resolves when it has the lock. */
export async function startOtherEngine(pid: number): Promise<OtherEngine> {
  const ready = join(tmpdir(), `engine-${randomUUID()}`)
  const loader = SCRIPT.endsWith('.ts') ? ['--import', 'tsx'] : []
  const arguments_ = [...process.execArgv, ...loader, SCRIPT, String(pid), ready]
  const child = persistently(() => spawn(process.execPath, arguments_, { stdio: 'ignore' }))
  const ended = once(child, 'exit')
  for (const deadline = Date.now() + 100_000; !existsSync(ready); await sleep(10))
    if (Date.now() > deadline || child.exitCode !== null) throw new Error('the other engine did not take the lock')
  return {
    async kill() {
      child.kill('SIGKILL')
      await ended
      rmSync(ready, { force: true })
    },
  }
}
