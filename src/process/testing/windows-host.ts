/** The conformance suite's host on Windows. The target is test/targets/conformance.c, compiled for Windows. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { persistently } from '../../os/persistently.ts'
import { PROCESS_RIGHTS } from '../../os/windows/definitions.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { nt } from '../../os/windows/ntdll.ts'
import { windowsBackend } from '../windows/index.ts'
import { startOtherEngine } from './other-engine.ts'
import { type ConformanceHost, type StartedTarget, TARGET_SYMBOLS, type TargetSymbols } from './target.ts'

/** phnt: not 0 while a debugger is attached. */
const ProcessDebugPort = 7

export const windowsHost = (exe: string): ConformanceHost => ({
  backend: windowsBackend,
  showsNames: true,
  start: () => start(exe),
  startEngine: startOtherEngine,
  isAttached(pid) {
    const handle = win32.OpenProcess(PROCESS_RIGHTS.PROCESS_QUERY_INFORMATION, 0, pid)
    if (handle === 0) return false
    const port = Buffer.alloc(8)
    const status = nt.NtQueryInformationProcess(handle, ProcessDebugPort, port, port.length, null)
    win32.CloseHandle(handle)
    return status === 0 && port.readBigUInt64LE(0) !== 0n
  },
})

async function start(exe: string): Promise<StartedTarget> {
  const output = join(tmpdir(), `conformance-${randomUUID()}.json`)
  const child = persistently(() => spawn(exe, [output], { stdio: 'ignore' }))
  const ended = once(child, 'exit')
  const symbols = await announced(output)
  return {
    pid: child.pid ?? 0,
    moduleName: basename(exe),
    symbols,
    settle: () => sleep(5),
    async kill() {
      child.kill()
      await ended
      rmSync(output, { force: true })
    },
  }
}

/** The addresses that the target writes when it is ready. */
async function announced(path: string): Promise<TargetSymbols> {
  for (const deadline = Date.now() + 60_000; ; await sleep(10)) {
    try {
      const { symbols } = JSON.parse(readFileSync(path, 'utf8')) as { symbols: Record<string, string> }
      return Object.fromEntries(TARGET_SYMBOLS.map((name) => [name, BigInt(symbols[name] ?? 0)])) as TargetSymbols
    } catch (error) {
      if (Date.now() > deadline) throw error
    }
  }
}
