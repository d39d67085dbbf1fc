import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../errors.ts'
import { fakeBackend } from '../process/fake/index.ts'
import type { FakeTarget } from '../process/fake/target.ts'
import { type Everywhere, everywhere, isNamed } from './everywhere.ts'
import { applyPatch, checkPatch, rollbackPatch } from './index.ts'
import { applyEverywhere, checkEverywhere, rollBackEverywhere, verifyEverywhere } from './patch-everywhere.ts'
import { baseModule, newPatch, newTarget } from './testing/world.ts'

const otherModule = () => baseModule({ path: '/usr/lib/libother.so', buildId: 'ff' })
const outcomes = ({ reached }: Awaited<ReturnType<typeof applyEverywhere>>) =>
  reached.map(({ pid, came }) => [pid, came.kind === 'done' ? came.report.outcome : came.kind === 'failed' ? came.error.code : came.kind])

describe('apply', () => {
  test('reaches every process that maps the base image, and leaves the others alone', async () => {
    const [mapping, other, also] = [
      newTarget(10),
      newTarget(20, [otherModule()]),
      newTarget(30, [baseModule({ base: 0x7777_0000_0000n, buildId: 'ff', path: '/lib/libother.so' }), baseModule()]),
    ]
    const answer = await applyEverywhere(fakeBackend([mapping, other, also]), newPatch())
    expect(outcomes(answer)).toEqual([
      [10, 'applied'],
      [30, 'applied'],
    ])
    expect(other.log).toEqual([])
    expect(answer.looked).toBe(3)
  })

  test('a process with another build of the base image is told of, and left alone', async () => {
    const [mapping, newer] = [newTarget(10), newTarget(20, [baseModule({ buildId: 'ff' })])]
    const answer = await applyEverywhere(fakeBackend([mapping, newer]), newPatch())
    expect(outcomes(answer)).toEqual([[10, 'applied']])
    expect(answer.asides).toEqual([{ pid: 20, name: 'server', detail: expect.stringContaining('build id ff') }])
    expect(newer.log).toEqual([])
  })

  test('what one refuses does not keep the others from being patched', async () => {
    const [first, changed, last] = [newTarget(10), newTarget(20), newTarget(30)]
    changed.poke(BigInt('0x555500001080'), Uint8Array.of(0xcc))
    const answer = await applyEverywhere(fakeBackend([first, changed, last]), newPatch())
    expect(outcomes(answer)).toEqual([
      [10, 'applied'],
      [20, 'ORIGINAL_BYTES_DIFFER'],
      [30, 'applied'],
    ])
  })

  test('a second time finds all applied', async () => {
    const backend = fakeBackend([newTarget(10), newTarget(20)])
    await applyEverywhere(backend, newPatch())
    expect(outcomes(await applyEverywhere(backend, newPatch()))).toEqual([
      [10, 'already-applied'],
      [20, 'already-applied'],
    ])
  })

  test('a process that is forked while its siblings are patched is found', async () => {
    const targets = [newTarget(10), newTarget(20)]
    const [first, second] = targets as [FakeTarget, FakeTarget]
    // As the last one is resumed, the first one's unpatched child is there: forked before its parent was patched, listed by nobody yet.
    second.onResume = () => {
      if (targets.length === 2) targets.push(newTarget(30))
    }
    expect(outcomes(await applyEverywhere(fakeBackend(targets), newPatch()))).toEqual([
      [10, 'applied'],
      [20, 'applied'],
      [30, 'applied'],
    ])
    expect(first.alive).toBe(true)
  })

  test('a process that ends in the middle is no error', async () => {
    const [dying, living] = [newTarget(10), newTarget(20)]
    dying.fault = (_step, index, target) => {
      if (index === 2) target.exit()
    }
    expect(outcomes(await applyEverywhere(fakeBackend([dying, living]), newPatch()))).toEqual([
      [10, 'gone'],
      [20, 'applied'],
    ])
  })

  test('only processes of the name that is asked for', async () => {
    const answer = await applyEverywhere(fakeBackend([newTarget(10)]), newPatch(), { name: 'client' })
    expect([answer.reached, answer.looked]).toEqual([[], 0])
  })
})

test('check everywhere changes nothing', async () => {
  const [clean, patched, other] = [newTarget(10), newTarget(20), newTarget(30, [otherModule()])]
  await applyPatch(fakeBackend([patched]).open(20), newPatch())
  const steps = patched.log.length
  const { reached } = await checkEverywhere(fakeBackend([clean, patched, other]), newPatch())
  expect(reached.map(({ pid, came }) => [pid, came.kind === 'done' && came.report.outcome])).toEqual([
    [10, 'would-apply'],
    [20, 'already-applied'],
  ])
  expect([clean.log.length, patched.log.length]).toEqual([0, steps])
})

test('rollback everywhere takes away the patch of that name and no other', async () => {
  const [one, another, clean] = [newTarget(10), newTarget(20), newTarget(30)]
  const backend = fakeBackend([one, another, clean])
  await applyPatch(backend.open(10), newPatch())
  await applyPatch(backend.open(20), newPatch({ id: 'server-other' }))
  const { reached } = await rollBackEverywhere(backend, { id: 'server-1' })
  expect(reached.map(({ pid, came }) => [pid, came.kind === 'done' && came.report.outcome])).toEqual([[10, 'rolled-back']])
  expect(checkPatch(backend.open(10), newPatch()).outcome).toBe('would-apply')
  expect(checkPatch(backend.open(20), newPatch({ id: 'server-other' })).outcome).toBe('already-applied')
})

test('verify everywhere looks at the processes that carry a patch', async () => {
  const [patched, undone, clean] = [newTarget(10), newTarget(20), newTarget(30)]
  const backend = fakeBackend([patched, undone, clean])
  for (const pid of [10, 20]) await applyPatch(backend.open(pid), newPatch())
  await rollbackPatch(backend.open(20))
  const { reached } = await verifyEverywhere(backend)
  expect(reached.map(({ pid, came }) => [pid, came.kind === 'done' && came.report.outcome])).toEqual([[10, 'verified']])
})

describe('everywhere', () => {
  const action = (parts: Partial<Everywhere<string>>): Everywhere<string> => ({
    concerns: () => true,
    act: () => 'done',
    changed: () => false,
    ...parts,
  })

  test('what cannot be looked at is counted by its code', async () => {
    const answer = await everywhere(
      fakeBackend([newTarget(10), newTarget(20)]),
      action({
        concerns({ pid }) {
          if (pid === 10) throw new HotpatchError('PERMISSION_DENIED', 'not yours')
          return true
        },
      }),
    )
    expect(answer.unreadable).toEqual({ PERMISSION_DENIED: 1 })
    expect([answer.reached.map(({ pid }) => pid), answer.looked]).toEqual([[20], 1])
  })

  test('a defect in one of them is told, and the others are reached', async () => {
    const answer = await everywhere(
      fakeBackend([newTarget(10), newTarget(20)]),
      action({
        act({ pid }) {
          if (pid === 10) throw new TypeError('a defect')
          return 'done'
        },
      }),
    )
    expect(answer.reached.map(({ came }) => (came.kind === 'failed' ? came.error.code : came.kind))).toEqual(['DEFECT', 'done'])
  })

  test('processes that appear for ever do not keep it at work for ever', async () => {
    const targets = [newTarget(10)]
    const answer = await everywhere(
      fakeBackend(targets),
      action({
        act({ pid }) {
          targets.push(newTarget(pid + 10))
          return 'done'
        },
        changed: () => true,
      }),
    )
    expect(answer.reached.length).toBe(16)
  })
})

describe('names', () => {
  test.each([
    ['nginx', undefined, true],
    ['nginx', 'nginx', true],
    ['nginx', 'ngin', false],
    ['a-name-that-is-', 'a-name-that-is-too-long', true],
    ['a-name-that-is', 'a-name-that-is-too-long', false],
    ['broker.exe', 'Broker', true],
    ['broker.exe', 'broker.EXE', true],
    ['Broker.EXE', 'broker', true],
    ['broker', 'Broker', false],
  ])('%s for %s: %s', (name, wanted, expected) => {
    expect(isNamed(name, wanted)).toBe(expected)
  })
})
