/** How often a command has the whole memory map told: that is what a command costs most where each of its stretches is asked for by itself. */
import { describe, expect, test } from 'vitest'
import { type FakeTarget, fakeBackend, killEngineAt } from '../process/fake/index.ts'
import { applyPatch, checkPatch, rollbackPatch, statusOf, verifyProcess } from './index.ts'
import { applyEverywhere } from './patch-everywhere.ts'
import { BASE, baseModule, newPatch, newTarget, RVA } from './testing/world.ts'

const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)
const patch = (sequence = 1) => newPatch({ id: `fix-${sequence}`, sequence, content: sequence })

async function patched(sequence = 1): Promise<FakeTarget> {
  const target = newTarget()
  await applyPatch(open(target), patch(sequence))
  return target
}

async function looksOf<T>(target: FakeTarget, act: () => T | Promise<T>): Promise<{ readonly looks: number; readonly report: T }> {
  const before = target.looks
  const report = await act()
  return { looks: target.looks - before, report }
}

/** A thread that has left the function that changes after so many tries. */
function busyFor(target: FakeTarget, tries: number): void {
  const [, worker] = target.threads
  if (worker === undefined) throw new Error('no worker')
  const away = worker.instructionPointer
  worker.instructionPointer = BASE + BigInt(RVA.plain) + 1n
  let resumes = 0
  target.onResume = () => {
    if (++resumes === tries) worker.instructionPointer = away
  }
}

test('no look is taken of a process that maps nothing of a patch that is applied everywhere', async () => {
  const [other, ours] = [newTarget(8, [baseModule({ buildId: '00'.repeat(20) })]), newTarget()]
  const { looks, report } = await looksOf(other, () => applyEverywhere(fakeBackend([other, ours]), patch()))
  expect(report.reached.map(({ pid, came: { kind } }) => [pid, kind])).toEqual([[ours.pid, 'done']])
  expect(looks).toBe(0)
})

describe('one look at the memory map', () => {
  test('is all that check takes, whatever is patched', async () => {
    for (const target of [newTarget(), await patched()]) {
      expect(await looksOf(target, () => checkPatch(open(target), patch(2)))).toMatchObject({
        looks: 1,
        report: { outcome: 'would-apply' },
      })
    }
  })

  test('is all that status and verify take', async () => {
    const target = await patched()
    expect(await looksOf(target, () => statusOf(open(target)))).toMatchObject({ looks: 1, report: { patches: [{ state: 'applied' }] } })
    expect(await looksOf(target, () => verifyProcess(open(target)))).toMatchObject({ looks: 1, report: { outcome: 'verified' } })
  })

  test('is all that an apply takes that has nothing to do', async () => {
    const target = await patched()
    expect(await looksOf(target, () => applyPatch(open(target), patch()))).toMatchObject({
      looks: 1,
      report: { outcome: 'already-applied' },
    })
  })

  test('is all that an apply takes that is refused', async () => {
    const target = await patched(2)
    const before = target.looks
    await expect(applyPatch(open(target), patch(1))).rejects.toMatchObject({ code: 'SEQUENCE_NOT_HIGHER' })
    expect(target.looks - before).toBe(1)
  })

  test('is all that a rollback takes that has nothing to do', async () => {
    const target = newTarget()
    expect(await looksOf(target, () => rollbackPatch(open(target)))).toMatchObject({
      looks: 1,
      report: { outcome: 'nothing-to-roll-back' },
    })
  })
})

describe('one more look before each stop', () => {
  test('is what apply takes', async () => {
    const target = newTarget()
    expect((await looksOf(target, () => applyPatch(open(target), patch()))).looks).toBe(2)
    expect((await looksOf(target, () => applyPatch(open(target), patch(2)))).looks).toBe(2)
  })

  test('is what apply takes for each try', async () => {
    const target = newTarget()
    busyFor(target, 3)
    expect(await looksOf(target, () => applyPatch(open(target), patch()))).toMatchObject({ looks: 5, report: { stop: { tries: 4 } } })
  })

  test('is what rollback takes, for what it gives back, too', async () => {
    const target = newTarget()
    const escapes = { code: false, data: false, constants: false }
    await applyPatch(open(target), newPatch({ escapes }))
    const { looks, report } = await looksOf(target, () => rollbackPatch(open(target)))
    expect(report).toMatchObject({ outcome: 'rolled-back', stop: { tries: 1 }, retired: [] })
    // Its code once, its image and the region together twice: one look for each of the two.
    expect(report.reclaim.stops).toBe(3)
    expect(looks).toBe(2 + 2)
  })
})

describe('one more look after each change', () => {
  test('is what recovery takes', async () => {
    const target = newTarget()
    target.fault = killEngineAt(7)
    await expect(applyPatch(open(target), patch())).rejects.toThrow(/killed/)
    target.fault = undefined
    const { looks, report } = await looksOf(target, () => applyPatch(open(target), patch()))
    expect(report).toMatchObject({ outcome: 'applied', recovered: [{ outcome: 'withdrawn' }] })
    expect(looks).toBe(3)
  })
})
