/** An engine that dies while threads of a Windows process are suspended: its watchdog resumes them, and nothing else. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { THREAD_RIGHTS } from '../../os/windows/definitions.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { WindowsProcess } from '../windows/process.ts'
import { ntdllFunction } from '../windows/remote-call.ts'
import { processEntries } from '../windows/snapshot.ts'
import { StopBoard } from '../windows/stop-board.ts'
import { suspendCount } from '../windows/threads.ts'
import { watchedBoard } from '../windows/watchdog.ts'
import type { CaseContext, ConformanceCase } from './case.ts'
import { runDyingEngine } from './dying-engine.ts'
import { MACHINE, VALUE_OLD } from './target.ts'

/** winbase.h */
const CREATE_SUSPENDED = 4
/** Every single step takes minutes in Wine, and where the processor is emulated it takes quarters of an hour. Odd, so that moments before and after calls are among them. */
const STRIDE = process.env.HOTPATCH_TEST_THOROUGH === '1' ? 1 : MACHINE === 'arm64' ? 9 : 3
/** Milliseconds for a watchdog to do its work, and for the target to go on. */
const PATIENCE = MACHINE === 'arm64' ? 120_000 : 20_000

/** A thread of the target that it holds suspended itself. */
function startSuspended({ process }: CaseContext): number {
  assert.ok(process instanceof WindowsProcess)
  const start = ntdllFunction(process.target, 'RtlExitUserThread')
  const handle = win32.CreateRemoteThread(process.target.change(), null, 0, start, 0n, CREATE_SUSPENDED, null)
  assert.notEqual(handle, 0)
  const id = win32.GetThreadId(handle)
  win32.CloseHandle(handle)
  return id
}

function countOf(id: number): number | undefined {
  const handle = win32.OpenThread(THREAD_RIGHTS.THREAD_QUERY_LIMITED_INFORMATION, 0, id)
  if (handle === 0) return undefined
  try {
    return suspendCount(handle)
  } finally {
    win32.CloseHandle(handle)
  }
}

/** Other programs like this one: engines and watchdogs. */
const runningNodes = (): { pid: number; parent: number }[] =>
  processEntries()
    .filter(({ szExeFile, cntThreads }) => szExeFile.toLowerCase() === 'node.exe' && cntThreads > 0)
    .map(({ th32ProcessID, th32ParentProcessID }) => ({ pid: th32ProcessID, parent: th32ParentProcessID }))
    .filter(({ pid }) => pid !== process.pid)

function ownWatchdog(): number {
  const own = runningNodes().filter(({ parent }) => parent === process.pid)
  assert.equal(own.length, 1, `${own.length} watchdogs`)
  return own[0]?.pid ?? 0
}

/** The watchdog of an engine that has just died needs a moment. */
async function settle(context: CaseContext, counts: () => string, wanted: string, when: string): Promise<void> {
  for (const end = Date.now() + PATIENCE; counts() !== wanted; await sleep(20))
    if (Date.now() > end) assert.fail(`${when}: the suspend counts are ${counts()}, not ${wanted}`)
  assert.equal(context.control.get('bad'), 0n)
}

/** Each step is an engine of its own. */
export const DYING_CASES: readonly ConformanceCase[] = [
  {
    name: 'an engine that dies at any step of its stop: the watchdog resumes what it held, and nothing else',
    async run(context) {
      const { process: target, control } = context
      const { value } = context.target.symbols
      await control.setWorkers(2)
      const held = startSuspended(context)
      const ids = target.threads().map(({ id }) => id)
      const counts = () => ids.map((id) => `${id}:${countOf(id)}`).join(' ')
      const wanted = ids.map((id) => `${id}:${id === held ? 1 : 0}`).join(' ')
      assert.equal(counts(), wanted)
      const file = join(tmpdir(), `calls-${target.pid}`)
      await runDyingEngine(target.pid, value, -1, file)
      const calls = Number(readFileSync(file, 'utf8'))
      rmSync(file)
      assert.ok(calls > 3 * ids.length, `${calls} calls`)
      for (let step = 0; step < 2 * calls; step += STRIDE) {
        target.write(value, VALUE_OLD)
        await runDyingEngine(target.pid, value, step)
        await settle(context, counts, wanted, `after step ${step} of ${2 * calls}`)
        const before = control.get('old') + control.get('new')
        for (const end = Date.now() + PATIENCE; control.get('old') + control.get('new') < before + 20n; await sleep(5))
          assert.ok(Date.now() < end, `it does not go on after step ${step}`)
      }
      for (const end = Date.now() + PATIENCE; runningNodes().some(({ parent }) => parent !== process.pid); await sleep(20))
        assert.ok(Date.now() < end, 'a watchdog goes on without its engine')
    },
  },
]

export const WATCHDOG_CASES: readonly ConformanceCase[] = [
  {
    name: 'the watchdog is there before the first thread is suspended, and another one when it was killed',
    async run({ process: target, target: { symbols } }) {
      const switchOnce = () =>
        target.switchCode({
          writes: [{ address: symbols.value, bytes: VALUE_OLD }],
          inspect() {
            assert.equal(watchedBoard().watching, true)
            assert.equal(watchedBoard().marked().length, target.threads().length)
            return undefined
          },
          stopTimeout: 5000,
        })
      switchOnce()
      const first = watchedBoard()
      assert.ok(first instanceof StopBoard)
      assert.deepEqual(first.marked(), [])
      const pid = ownWatchdog()
      process.kill(pid, 'SIGKILL')
      switchOnce()
      assert.notEqual(watchedBoard(), first)
      assert.notEqual(ownWatchdog(), pid)
    },
  },
]
