/** The engine dies around any call that changes something; the target goes on with everything it had. */
import { spawn, spawnSync } from 'node:child_process'
import { afterAll, describe, expect, test } from 'vitest'
import { linuxBackend } from '../../src/process/linux/index.ts'
import { rounds, script } from '../brought.ts'
import { type MODES, readCounters } from './counters.ts'
import { compile, endTargets, isAlive, startApart, until, untilFree } from './targets.ts'

afterAll(endTargets)

const ENGINE = script('killed-engine', import.meta.url)

const runEngine = (pid: number, step: number, side: string): Promise<NodeJS.Signals | null> =>
  new Promise((resolve, reject) => {
    const engine = spawn(process.execPath, [...ENGINE, String(pid), String(step), side], { stdio: ['ignore', 'ignore', 'inherit'] })
    engine.on('error', reject)
    engine.on('exit', (_, signal) => resolve(signal))
  })

/** Every single step takes minutes: HOTPATCH_TEST_THOROUGH=1 npx vitest run --project live test/process/kill.test.ts */
const thorough = process.env.HOTPATCH_TEST_THOROUGH === '1'
const sparse = rounds(1) === rounds(8) ? 8 : 1

/**
 * How often each mode is killed: every step of one, every few of the others. An epoll_wait that a dead engine stopped fails with EINTR
 * (the kernel's doing, see restart.ts), which the target does not count as bad.
 */
const STRIDES: readonly (readonly [(typeof MODES)[number], number])[] = [
  ['spin', thorough ? 1 : 4 * sparse],
  ['sleep', thorough ? 1 : 6 * sparse],
  // A thread that is stopped again in a call that the kernel goes on with: see restarted.ts.
  ['long', thorough ? 2 : 22 * sparse],
  ['epoll', thorough ? 2 : 9 * sparse],
  ['sigsuspend', thorough ? 2 : 9 * sparse],
]

describe('an engine that is killed', () => {
  test.each(STRIDES)('%s: at every call (stride %d) the target goes on unharmed', { timeout: 600_000 }, async (mode, stride) => {
    const started = await startApart(compile('borrowed.c', 'borrowed'), [mode])
    await until('it printed its address', () => started.output().endsWith('\n'))
    const address = BigInt((JSON.parse(started.output()) as { counters: string }).counters)
    const whole = spawnSync(process.execPath, [...ENGINE, String(started.pid)], { encoding: 'utf8' })
    const steps = Number(whole.stdout)
    expect(steps, whole.stderr).toBeGreaterThan(50)
    const target = linuxBackend.open(started.pid)
    let killed = 0
    for (let step = 0; step < steps; step += stride) {
      for (const side of ['before', 'after']) {
        if ((await runEngine(started.pid, step, side)) === 'SIGKILL') killed++
        await untilFree(started.pid)
        expect(isAlive(started.pid), `after step ${step} ${side}`).toBe(true)
        const { rounds } = readCounters(target, address)
        await until(`it goes on after step ${step} ${side}`, () => readCounters(target, address).rounds > rounds + 2n)
        expect(readCounters(target, address).bad, `after step ${step} ${side}`).toBe(0n)
      }
    }
    // How often the system interrupts us differs a little from run to run, so the last steps may not be reached.
    expect(killed).toBeGreaterThan((2 * (steps - 8)) / stride)
    target.close()
    await started.kill()
  })
})
