/** Exceptions, jumps, cancellation and signals that pass through patched functions, while patches come and go. */
import { rmSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { applyPatch, rollbackPatch, statusOf, verifyProcess } from '../../src/engine/index.ts'
import { hostBackend } from '../../src/process/host.ts'
import { endTargets, isAlive, startApart, until } from '../process/targets.ts'
import { flavoursHere } from './flavours.ts'
import { buildPair, type Pair } from './pair.ts'

afterAll(endTargets)

/** As in passing/main.cpp. */
const WAYS = ['passed by an exception', 'catches', 'rethrows', 'passed by a jump', 'passed by a cancellation', 'interrupted'] as const
const [OLD, FIXED, HANDLED, BAD] = [0, 6, 12, 13]
/** A cancelled call has no result. */
const CANCELLED = 4
const ROUNDS = 12

describe.skipIf(process.platform !== 'linux').each(flavoursHere('passing'))('passing through, $compiler $flags', ({ compiler, flags }) => {
  let pair: Pair | undefined
  afterAll(() => pair && rmSync(pair.folder, { recursive: true, force: true }))

  test('nothing is lost, whoever passes and however', async () => {
    pair = buildPair({ sources: 'passing', files: ['main.cpp', 'through.cpp'], compiler, flags })
    const patch = pair.patch()
    const started = await startApart(pair.program)
    await until('it printed its address', () => started.output().endsWith('\n'))
    const control = BigInt((JSON.parse(started.output()) as { control: string }).control)
    const target = (await hostBackend()).open(started.pid)
    const read = (): number[] => {
      const bytes = target.read(control, 14 * 8)
      const view = new DataView(bytes.buffer)
      return Array.from({ length: 14 }, (_, i) => Number(view.getBigUint64(i * 8, true)))
    }
    const allGoOn = async (what: number): Promise<void> => {
      const before = read()
      await until(`results of ${what === OLD ? 'the old' : 'the fixed'} functions`, () => {
        const now = read()
        const goes = (way: number) =>
          (now[(way === CANCELLED ? OLD : what) + way] as number) > (before[(way === CANCELLED ? OLD : what) + way] as number) + 2
        return WAYS.every((_, way) => goes(way))
      })
    }
    for (let round = 0; round < ROUNDS; round++) {
      expect((await applyPatch(target, patch, { timeoutMs: 20_000 })).outcome).toBe('applied')
      expect(verifyProcess(target).outcome).toBe('verified')
      await allGoOn(FIXED)
      expect((await rollbackPatch(target, { timeoutMs: 20_000 })).outcome).toBe('rolled-back')
      await allGoOn(OLD)
      expect([read()[BAD], isAlive(started.pid)]).toEqual([0, true])
    }
    expect(read()[HANDLED]).toBeGreaterThan(100)
    expect(statusOf(target).damaged).toEqual([])
    target.close()
    await started.kill()
  })
})
