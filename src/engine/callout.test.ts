import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../errors.ts'
import { EngineKilled, type FakeTarget, fakeBackend, killEngineAt } from '../process/fake/index.ts'
import { applyPatch, rollbackPatch, statusOf, verifyProcess } from './index.ts'
import { BASE, newPatch, newTarget, ownRegions, PATCH_RVA, RVA, snapshot } from './testing/world.ts'

const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)
const ORIGINAL = snapshot(newTarget())
const PATCH = newPatch({ callout: true })

type Answer = (operation: number, target: FakeTarget) => bigint

/** A target whose callbacks are written down, each with what it found at the entries. */
function newCalled(answer: Answer = () => 0n): { target: FakeTarget; calls: [number, 'original' | 'patched'][] } {
  const target = newTarget()
  const calls: [number, 'original' | 'patched'][] = []
  target.onCall = (address, [info, size]) => {
    if (!(info instanceof Uint8Array) || size !== 12n || info.length !== 12) throw new Error('the callback got something else')
    const view = new DataView(info.buffer, info.byteOffset)
    expect([view.getUint32(0, true), view.getUint32(8, true)]).toEqual([1, 0])
    const image = statusOf(open(target)).patches.find((patch) => BigInt(patch.image.address) + BigInt(PATCH_RVA.callout) === address)
    expect(image).toBeDefined()
    const operation = view.getUint32(4, true)
    calls.push([operation, isOriginal(target) ? 'original' : 'patched'])
    return answer(operation, target)
  }
  return { target, calls }
}

const isOriginal = (target: FakeTarget): boolean => {
  const entry = (from: FakeTarget) => Buffer.from(from.peek(BASE + BigInt(RVA.plain), 5) ?? []).toString('hex')
  return entry(target) === entry(newTarget())
}

async function failure(run: Promise<unknown>): Promise<HotpatchError> {
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof HotpatchError) return error
  throw error ?? new Error('it did not fail')
}

const throwing = (code: 'CALL_TIMEOUT' | 'CALL_FAULTED' | 'NO_SAFE_THREAD'): never => {
  throw new HotpatchError(code, 'the test says so')
}

describe('the callback', () => {
  test('is told before the switch, after it, and when it is undone', async () => {
    const { target, calls } = newCalled()
    const applied = await applyPatch(open(target), PATCH)
    expect(applied.callouts).toEqual([
      { operation: 'before', outcome: 'done', result: 0, detail: '' },
      { operation: 'after', outcome: 'done', result: 0, detail: '' },
    ])
    const undone = await rollbackPatch(open(target))
    expect(undone.callouts).toEqual([{ operation: 'undone', outcome: 'done', result: 0, detail: '' }])
    expect(calls).toEqual([
      [0, 'original'],
      [1, 'patched'],
      [2, 'original'],
    ])
  })

  test('no patch needs one', async () => {
    const { target, calls } = newCalled()
    expect((await applyPatch(open(target), newPatch())).callouts).toEqual([])
    expect((await rollbackPatch(open(target))).callouts).toEqual([])
    expect(calls).toEqual([])
  })

  test('cancels with what is not 0: nothing was switched, it is not told again, and its memory stays', async () => {
    const { target, calls } = newCalled(() => 0x1_0000_0017n)
    const error = await failure(applyPatch(open(target), PATCH))
    expect([error.code, error.exit, error.facts.result]).toEqual(['CALLOUT_CANCELLED', 3, 0x17])
    expect(error.detail).toContain('0x17')
    expect(snapshot(target)).toBe(ORIGINAL)
    expect(calls.map(([operation]) => operation)).toEqual([0])
    expect(statusOf(open(target)).patches).toMatchObject([{ state: 'reverted' }])
    expect(ownRegions(target)).not.toEqual([])
    expect(target.log.filter(({ kind }) => kind === 'stop')).toEqual([])
  })

  test.each(['CALL_TIMEOUT', 'CALL_FAULTED'] as const)(
    '%s before the switch: the patch is not applied, nothing is called again',
    async (code) => {
      const { target, calls } = newCalled(() => throwing(code))
      expect((await failure(applyPatch(open(target), PATCH))).code).toBe(code)
      expect(snapshot(target)).toBe(ORIGINAL)
      expect(calls).toHaveLength(1)
      expect(ownRegions(target)).not.toEqual([])
      await rollbackPatch(open(target))
      expect(calls).toHaveLength(1)
    },
  )

  test('no thread to call it on: as if the patch had never been', async () => {
    const { target } = newCalled(() => throwing('NO_SAFE_THREAD'))
    expect((await failure(applyPatch(open(target), PATCH))).code).toBe('NO_SAFE_THREAD')
    expect(ownRegions(target)).toEqual([])
  })

  test.each([
    ['failed', (): bigint => 5n],
    ['faulted', (): bigint => throwing('CALL_FAULTED')],
    ['timed-out', (): bigint => throwing('CALL_TIMEOUT')],
    ['not-called', (): bigint => throwing('NO_SAFE_THREAD')],
  ] as const)('what it answers after the switch is told, no more: %s', async (outcome, answer) => {
    const { target, calls } = newCalled((operation) => (operation === 0 ? 0n : answer()))
    const applied = await applyPatch(open(target), PATCH)
    expect(applied.callouts[1]).toMatchObject({ operation: 'after', outcome })
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    expect((await rollbackPatch(open(target))).callouts).toMatchObject([{ operation: 'undone', outcome }])
    expect(snapshot(target)).toBe(ORIGINAL)
    expect(calls.map(([operation]) => operation)).toEqual([0, 1, 2])
  })

  test('a switch that finds no moment: it is told that it is undone', async () => {
    const { target, calls } = newCalled()
    const worker = target.threads[1]
    if (worker === undefined) throw new Error('no worker')
    worker.instructionPointer = BASE + BigInt(RVA.plain) + 2n
    expect((await failure(applyPatch(open(target), PATCH, { timeoutMs: 20 }))).code).toBe('BUSY')
    expect(calls.map(([operation]) => operation)).toEqual([0, 2])
    expect(snapshot(target)).toBe(ORIGINAL)
  })

  test('superseding tells the new patch alone', async () => {
    const { target, calls } = newCalled()
    await applyPatch(open(target), PATCH)
    await applyPatch(open(target), newPatch({ id: 'server-2', sequence: 2, callout: true }))
    expect(calls.map(([operation]) => operation)).toEqual([0, 1, 0, 1])
    expect((await rollbackPatch(open(target), { to: 1 })).callouts).toMatchObject([{ operation: 'undone' }])
    expect((await rollbackPatch(open(target))).callouts).toMatchObject([{ operation: 'undone' }])
    expect(calls.map(([operation]) => operation)).toEqual([0, 1, 0, 1, 2, 2])
  })
})

async function stepsOf(
  prepare: (target: FakeTarget) => Promise<unknown>,
  act: (target: FakeTarget) => Promise<unknown>,
): Promise<number[]> {
  const { target } = newCalled()
  await prepare(target)
  const from = target.log.length
  await act(target)
  return target.log.flatMap((step, i) => (i >= from && step.kind !== 'resume' ? [i] : []))
}

const nothing = async () => {}
const apply = (target: FakeTarget) => applyPatch(open(target), PATCH)
const rollback = (target: FakeTarget) => rollbackPatch(open(target))
const CASES = [
  ...(await stepsOf(nothing, apply)).map((step) => ['apply', step, nothing, apply] as const),
  ...(await stepsOf(apply, rollback)).map((step) => ['rollback', step, apply, rollback] as const),
]

describe.each(CASES)('an engine that is killed before step %s %i', (_, step, prepare, act) => {
  test('is followed by one that tells each operation at most once, in order, and of an undoing if the beginning was told', async () => {
    const { target, calls } = newCalled()
    await prepare(target)
    target.fault = killEngineAt(step)
    await expect(act(target)).rejects.toBeInstanceOf(EngineKilled)
    target.fault = undefined
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
    const told = calls.map(([operation]) => operation)
    expect(told).toEqual([...new Set(told)].sort())
    // One word before the call of the undoing, one step: only there nobody can know.
    const cutOff = told.length > 0 && !told.includes(2)
    const words = statusOf(open(target)).patches.map(({ callout }) => callout)
    if (cutOff) expect(words).toEqual(['undone'])
    // The next patch begins anew.
    calls.length = 0
    await apply(target)
    expect(calls.map(([operation]) => operation)).toEqual([0, 1])
    expect(verifyProcess(open(target)).outcome).toBe('verified')
  })
})
