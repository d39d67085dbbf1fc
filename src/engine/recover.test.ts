import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../errors.ts'
import { EngineKilled, type FakeFault, type FakeTarget, failAt, fakeBackend, killEngineAt } from '../process/fake/index.ts'
import { findLedgers } from './find-ledgers.ts'
import { applyPatch, checkPatch, rollbackPatch, statusOf, verifyProcess } from './index.ts'
import { newPatch, newTarget, ownRegions, RVA, snapshot } from './testing/world.ts'

const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)
const ORIGINAL = snapshot(newTarget())

/** Steps of the log count resumes, too, before which no engine can be killed. */
async function stepsOf(
  prepare: (target: FakeTarget) => Promise<unknown>,
  act: (target: FakeTarget) => Promise<unknown>,
): Promise<number[]> {
  const target = newTarget()
  await prepare(target)
  const from = target.log.length
  await act(target)
  return target.log.flatMap((step, i) => (i >= from && step.kind !== 'resume' ? [i] : []))
}

async function dies(run: Promise<unknown>): Promise<void> {
  await expect(run).rejects.toBeInstanceOf(EngineKilled)
}

const nothing = async () => {}
const apply = (target: FakeTarget) => applyPatch(open(target), newPatch())
const rollback = (target: FakeTarget) => rollbackPatch(open(target))

const APPLY_STEPS = await stepsOf(nothing, apply)
const ROLLBACK_STEPS = await stepsOf(apply, rollback)

/** Every entry leads to the patch, or none does: what threads would find. */
function entries(target: FakeTarget): 'original' | 'redirected' | 'mixed' {
  const now = snapshot(target)
  const entry = (text: string, rva: number) => text.slice((rva - 0x1000) * 2).slice(0, 4)
  const changed = [RVA.padded, RVA.nopped, RVA.plain].filter((rva) => entry(now, rva) !== entry(ORIGINAL, rva)).length
  return changed === 0 ? 'original' : changed === 3 ? 'redirected' : 'mixed'
}

describe.each(APPLY_STEPS)('an engine that is killed before step %i of apply', (step) => {
  const interrupted = async (): Promise<FakeTarget> => {
    const target = newTarget()
    target.fault = killEngineAt(step)
    await dies(apply(target))
    target.fault = undefined
    return target
  }

  test('is followed by status and check that change nothing', async () => {
    const target = await interrupted()
    const [before, steps] = [snapshot(target), target.log.length]
    const { patches, damaged } = statusOf(open(target))
    checkPatch(open(target), newPatch())
    verifyProcess(open(target))
    expect(damaged).toEqual([])
    expect(patches.every((patch) => patch.recovery !== 'none')).toBe(true)
    expect([snapshot(target), target.log.length]).toEqual([before, steps])
  })

  test('is followed by an apply that ends applied and verified', async () => {
    const target = await interrupted()
    await apply(target)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    expect(entries(target)).toBe('redirected')
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
  })

  test('is followed by a rollback that ends with the original bytes', async () => {
    const target = await interrupted()
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
    expect(statusOf(open(target)).patches.every(({ state }) => state === 'reverted')).toBe(true)
    expect(verifyProcess(open(target)).outcome).toBe('nothing-to-verify')
  })

  test('leaves nothing mapped if no thread can know of it', async () => {
    const target = await interrupted()
    const switched = entries(target) !== 'original'
    const unknownUnwind = findLedgers(open(target)).ledgers.some(({ unwindState }) => unwindState === 'registering')
    await rollback(target)
    if (!switched && !unknownUnwind) expect(ownRegions(target)).toEqual([])
    if (switched) expect(ownRegions(target)).not.toEqual([])
  })
})

describe.each(ROLLBACK_STEPS)('an engine that is killed before step %i of rollback', (step) => {
  const interrupted = async (): Promise<FakeTarget> => {
    const target = newTarget()
    await apply(target)
    target.fault = killEngineAt(step)
    await dies(rollback(target))
    target.fault = undefined
    return target
  }

  test('is followed by a rollback that ends with the original bytes, the image still mapped', async () => {
    const target = await interrupted()
    const finished = statusOf(open(target)).patches[0]?.state === 'reverted'
    expect((await rollback(target)).outcome).toBe(finished ? 'nothing-to-roll-back' : 'rolled-back')
    expect(snapshot(target)).toBe(ORIGINAL)
    expect(ownRegions(target)).toHaveLength(6)
    expect(statusOf(open(target)).patches).toMatchObject([{ state: 'reverted' }])
  })

  test('is followed by an apply that ends applied and verified', async () => {
    const target = await interrupted()
    await apply(target)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
  })
})

const REFUSAL = new HotpatchError('MEMORY_UNWRITABLE', 'the test says so')

/** Step `index` fails, what is tried after it does not. */
function failOnceAt(index: number): FakeFault {
  let failed = false
  return (_, at) => {
    if (at !== index || failed) return
    failed = true
    throw REFUSAL
  }
}

describe.each(APPLY_STEPS)('step %i of apply fails', (step) => {
  test('and so does all undoing: the next engine undoes or completes', async () => {
    const target = newTarget()
    target.fault = failAt(step, REFUSAL)
    await apply(target).catch((error) => expect(error).toBe(REFUSAL))
    expect(entries(target)).not.toBe('mixed')
    target.fault = undefined
    await apply(target)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
  })

  test('everything before it is undone, and the failure is told', async () => {
    const target = newTarget()
    target.fault = failOnceAt(step)
    const outcome = await apply(target).then(
      (report) => report.outcome,
      (error: HotpatchError) => error.code,
    )
    target.fault = undefined
    if (outcome === 'applied') {
      // Only the note that the patch is applied failed; the second try of it did not.
      expect(verifyProcess(open(target)).outcome).toBe('verified')
      return
    }
    expect(outcome).toBe('MEMORY_UNWRITABLE')
    expect(snapshot(target)).toBe(ORIGINAL)
    expect(statusOf(open(target)).patches.every(({ state }) => state === 'reverted')).toBe(true)
    expect((await apply(target)).outcome).toBe('applied')
  })
})

describe.each(ROLLBACK_STEPS)('step %i of rollback fails', (step) => {
  test('the patch is applied or undone, never between', async () => {
    const target = newTarget()
    await apply(target)
    target.fault = failAt(step, REFUSAL)
    await rollback(target).catch((error) => expect(error).toBeInstanceOf(HotpatchError))
    target.fault = undefined
    const [patch] = statusOf(open(target)).patches
    expect(entries(target)).not.toBe('mixed')
    if (patch?.state === 'applied') expect(verifyProcess(open(target)).outcome).toBe('verified')
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
  })
})

describe('two engines', () => {
  const held = new HotpatchError('ENGINE_AT_WORK', 'the test says so')

  test('the second waits for the first', async () => {
    const target = newTarget()
    let refusals = 3
    let locked = 0
    const lock = () => {
      if (refusals-- > 0) throw held
      locked++
      return () => {
        locked--
      }
    }
    await applyPatch(Object.assign(open(target), { lock }), newPatch())
    expect([refusals, locked]).toEqual([-1, 0])
  })

  test('and changes nothing if the first does not end', async () => {
    const target = newTarget()
    const lock = (): never => {
      throw held
    }
    await expect(applyPatch(Object.assign(open(target), { lock }), newPatch(), { timeoutMs: 20 })).rejects.toBe(held)
    expect(target.log).toEqual([])
  })

  test('the lock is given back whatever happens', async () => {
    const target = newTarget()
    target.fault = failAt(3, REFUSAL)
    let locked = 0
    const lock = () => {
      locked++
      return () => {
        locked--
      }
    }
    await expect(applyPatch(Object.assign(open(target), { lock }), newPatch())).rejects.toBe(REFUSAL)
    expect(locked).toBe(0)
  })
})

test('any sequence of apply and rollback, each killed or not at any step, ends applied or original', async () => {
  const act = fc.record({ what: fc.constantFrom('apply' as const, 'rollback' as const), killAfter: fc.option(fc.nat(25)) })
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 8 }), fc.constantFrom('apply' as const, 'rollback' as const), async (acts, last) => {
      const target = newTarget()
      for (const { what, killAfter } of acts) {
        target.fault = killAfter === null ? undefined : killEngineAt(target.log.length + killAfter)
        await (what === 'apply' ? apply(target) : rollback(target)).catch((error) => expect(error).toBeInstanceOf(EngineKilled))
      }
      target.fault = undefined
      await (last === 'apply' ? apply(target) : rollback(target))
      if (last === 'apply') expect(verifyProcess(open(target)).outcome).toBe('verified')
      else expect(snapshot(target)).toBe(ORIGINAL)
      await rollback(target)
      expect(snapshot(target)).toBe(ORIGINAL)
    }),
    { numRuns: 300 },
  )
})
