/**
 * A Windows engine that dies in its stop: `dying-engine.js PID ADDRESS STEP [FILE]`. It rewrites the function at ADDRESS and ends itself
 * right before (even STEP) or right after (odd) the call into the system that STEP / 2 counts. If it comes to its end it writes the number of calls
 * to FILE.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { persistently } from '../../os/persistently.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { nt } from '../../os/windows/ntdll.ts'
import { windowsBackend } from '../windows/index.ts'
import { VALUE_NEW } from './target.ts'

const SCRIPT = import.meta.filename
type Call = (...args: unknown[]) => unknown

if (process.argv[1] === SCRIPT) {
  const [pid, address, step, file] = process.argv.slice(2) as [string, string, string, string?]
  const target = windowsBackend.open(Number(pid))
  let calls = 0
  const dieAt = (moment: number): void => {
    if (moment === Number(step)) process.kill(process.pid, 'SIGKILL')
  }
  const watch = (library: object, name: string): void => {
    const real = (library as Record<string, Call>)[name] as Call
    const watched: Call = (...args) => {
      const call = calls++
      dieAt(2 * call)
      const result = real(...args)
      dieAt(2 * call + 1)
      return result
    }
    Object.defineProperty(library, name, { value: watched })
  }
  const write = { address: BigInt(address), bytes: VALUE_NEW }
  // Its protection is changed before the stop; here only the stop counts.
  target.switchCode({
    writes: [write],
    rehearse() {
      for (const name of ['SuspendThread', 'GetThreadContext', 'ResumeThread']) watch(win32, name)
      watch(nt, 'NtWriteVirtualMemory')
    },
    inspect: () => undefined,
    stopTimeout: 5000,
  })
  if (file !== undefined) writeFileSync(file, `${calls}`)
}

/** Resolves when it has ended. */
export async function runDyingEngine(pid: number, address: bigint, step: number, file = ''): Promise<void> {
  const arguments_ = [...process.execArgv, SCRIPT, `${pid}`, `${address}`, `${step}`, file]
  const child: ChildProcess = persistently(() => spawn(process.execPath, arguments_, { stdio: 'ignore' }))
  await once(child, 'exit')
}
