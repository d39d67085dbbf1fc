import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../errors.ts'
import { EngineKilled, type FakeTarget, failAt, fakeBackend, killEngineAt } from '../process/fake/index.ts'
import { applyPatch, checkPatch, rollbackPatch, statusOf, verifyProcess } from './index.ts'
import { BASE, bytesAround, type FunctionName, follow, newPatch, newTarget, PATCH_RVA, RVA, snapshot } from './testing/world.ts'

const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)
const ORIGINAL = snapshot(newTarget())
const NAMES = ['padded', 'nopped', 'plain'] as const

const datum = (name: string, rva: number, size: number, file?: string) =>
  ({ name, kind: 'data', patchRva: 0x2000 + rva, size, ...(file === undefined ? {} : { file }) }) as const

/** Cumulative patches from which functions come and go: each kind of redirect is added, kept and removed once. */
const PATCHES = {
  1: newPatch({ id: 'p1', sequence: 1, functions: ['padded', 'plain'], data: [datum('counter', 0x10, 8), datum('other', 0x20, 4)] }),
  2: newPatch({ id: 'p2', sequence: 2, functions: ['plain', 'nopped'], data: [datum('other', 0x30, 8), datum('counter', 0x40, 8)] }),
  3: newPatch({ id: 'p3', sequence: 3, functions: ['padded', 'nopped', 'plain'], data: [datum('counter', 0x100, 8)] }),
  4: newPatch({ id: 'p4', sequence: 4, functions: ['nopped'], data: [] }),
} as const
type Sequence = keyof typeof PATCHES
const redirectedBy = (sequence: Sequence | 0): FunctionName[] =>
  sequence === 0 ? [] : PATCHES[sequence].manifest.functions.map((f) => f.name as FunctionName)

const apply = (target: FakeTarget, sequence: Sequence) => applyPatch(open(target), PATCHES[sequence])
const rollback = (target: FakeTarget) => rollbackPatch(open(target))
const rollbackTo = (target: FakeTarget, to: number) => rollbackPatch(open(target), { to })

/** The sequence number of the patch that all functions belong to; throws where they belong to several or somebody was forgotten. */
function inPlace(target: FakeTarget): Sequence | 0 {
  const process = open(target)
  const images = new Map(statusOf(process).patches.map((patch) => [patch.sequence, BigInt(patch.image.address)]))
  const fresh = newTarget()
  const found = NAMES.map((name) => {
    const entry = BASE + BigInt(RVA[name])
    const at = follow(process, entry)
    if (bytesAround(target, name) === bytesAround(fresh, name)) return `${name}:original`
    const patch = statusOf(process).patches.find((p) => BigInt(p.image.address) + BigInt(PATCH_RVA[name]) === at)
    return `${name}:${patch?.sequence ?? `0x${at.toString(16)}`}`
  })
  for (const sequence of [0, 1, 2, 3, 4] as const) {
    const expected = NAMES.map((name) => `${name}:${redirectedBy(sequence).includes(name) ? sequence : 'original'}`)
    if (expected.join() === found.join()) return sequence
  }
  throw new Error(`functions are of several patches: ${found.join(', ')} (images ${[...images.keys()].join()})`)
}

/** What threads find: as inPlace, but pads that no way leads to are not looked at, and mixed is told. */
function reached(target: FakeTarget): string {
  const process = open(target)
  const patches = statusOf(process).patches
  return NAMES.map((name) => {
    const at = follow(process, BASE + BigInt(RVA[name]))
    const patch = patches.find((p) => BigInt(p.image.address) + BigInt(PATCH_RVA[name]) === at)
    return patch?.sequence ?? 0
  }).join()
}
const reachedBy = (sequence: Sequence | 0): string => NAMES.map((name) => (redirectedBy(sequence).includes(name) ? sequence : 0)).join()

async function failure(run: Promise<unknown>): Promise<HotpatchError> {
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof HotpatchError) return error
  throw error ?? new Error('it did not fail')
}

const word = (target: FakeTarget, address: bigint): bigint => Buffer.from(target.peek(address, 8) ?? []).readBigUInt64LE()
const poke = (target: FakeTarget, address: bigint, value: bigint): void => {
  const data = Buffer.alloc(8)
  data.writeBigUInt64LE(value)
  target.poke(address, data)
}
const imageOf = (target: FakeTarget, sequence: number): bigint =>
  BigInt(statusOf(open(target)).patches.findLast((patch) => patch.sequence === sequence)?.image.address ?? 0)

describe('supersede', () => {
  test('replaces pointers, restores what only the old one redirected, redirects what only the new one does', async () => {
    const target = newTarget()
    await apply(target, 1)
    const from = target.log.length
    const report = await apply(target, 2)
    expect(report.superseded).toEqual({ id: 'p1', sequence: 1, restored: ['padded'], kept: ['counter'] })
    expect(inPlace(target)).toBe(2)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    const stopped = target.log.slice(from).flatMap((step) => (step.kind === 'write' && step.stopped ? [step] : []))
    const inBase = stopped.filter(({ address }) => address < BASE + 0x4000n).map(({ address }) => address)
    // The code of the function that both redirect is not touched.
    expect(inBase).toEqual([BASE + BigInt(RVA.nopped), BASE + BigInt(RVA.padded)])
    expect(target.log.slice(from).filter(({ kind }) => kind === 'stop')).toHaveLength(1)
    expect(stopped.filter(({ bytes, address }) => bytes.length === 8 && address % 8n === 0n)).toHaveLength(2)
  })

  test('is told by status and check', async () => {
    const target = newTarget()
    await apply(target, 1)
    expect(checkPatch(open(target), PATCHES[2])).toMatchObject({
      outcome: 'would-apply',
      supersedes: { id: 'p1', sequence: 1 },
      functions: [
        { name: 'plain', overwritten: 0 },
        { name: 'nopped', overwritten: 2 },
      ],
    })
    await apply(target, 2)
    expect(statusOf(open(target)).patches).toMatchObject([
      { id: 'p1', state: 'superseded', supersededBy: { id: 'p2', sequence: 2 }, recovery: 'none' },
      { id: 'p2', state: 'applied', supersedes: { id: 'p1', sequence: 1 }, supersededBy: undefined },
    ])
    expect((await apply(target, 2)).outcome).toBe('already-applied')
    expect(checkPatch(open(target), PATCHES[2]).outcome).toBe('already-applied')
  })

  test('a chain of four, then the original program', async () => {
    const target = newTarget()
    for (const sequence of [1, 2, 3, 4] as const) {
      await apply(target, sequence)
      expect(inPlace(target)).toBe(sequence)
      expect(verifyProcess(open(target)).outcome).toBe('verified')
    }
    expect((await rollback(target)).to).toBeUndefined()
    expect(snapshot(target)).toBe(ORIGINAL)
    expect(statusOf(open(target)).patches.map(({ state }) => state)).toEqual(['superseded', 'superseded', 'superseded', 'reverted'])
    await apply(target, 1)
    expect(inPlace(target)).toBe(1)
  })

  test('the rollback to the patch before, and before that', async () => {
    const target = newTarget()
    for (const sequence of [1, 2, 3] as const) await apply(target, sequence)
    expect((await failure(rollbackTo(target, 1))).code).toBe('PREDECESSOR_GONE')
    for (const sequence of [2, 1] as const) {
      expect(await rollbackTo(target, sequence)).toMatchObject({ outcome: 'rolled-back', to: { id: `p${sequence}`, sequence } })
      expect(inPlace(target)).toBe(sequence)
      expect(verifyProcess(open(target)).outcome).toBe('verified')
      expect((await rollbackTo(target, sequence)).outcome).toBe('nothing-to-roll-back')
    }
    expect((await failure(rollbackTo(target, 3))).code).toBe('PREDECESSOR_GONE')
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
    await apply(target, 2)
    await apply(target, 3)
    expect(inPlace(target)).toBe(3)
  })

  test('a lower sequence number is refused, the same one too but with force', async () => {
    const target = newTarget()
    await apply(target, 2)
    const patched = snapshot(target)
    expect((await failure(apply(target, 1))).code).toBe('SEQUENCE_NOT_HIGHER')
    expect((await failure(applyPatch(open(target), PATCHES[1], { force: true }))).code).toBe('SEQUENCE_NOT_HIGHER')
    const same = newPatch({ id: 'p2b', sequence: 2, content: 9, functions: ['padded'] })
    expect((await failure(applyPatch(open(target), same))).code).toBe('SEQUENCE_NOT_HIGHER')
    expect(checkPatch(open(target), same)).toMatchObject({ outcome: 'would-refuse', blockers: [{ code: 'SEQUENCE_NOT_HIGHER' }] })
    expect(snapshot(target)).toBe(patched)
    expect(checkPatch(open(target), same, { force: true })).toMatchObject({ outcome: 'would-apply' })
    expect((await applyPatch(open(target), same, { force: true })).superseded).toMatchObject({ id: 'p2' })
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
  })

  test('what somebody else wrote over the patch in place is a reason against', async () => {
    const target = newTarget()
    await apply(target, 1)
    target.poke(BASE + BigInt(RVA.plain), Uint8Array.of(0xcc))
    const error = await failure(apply(target, 2))
    expect([error.code, (error.facts.reasons as { symbol: string }[]).map(({ symbol }) => symbol)]).toEqual(['VERIFY_FAILED', ['plain']])
  })

  test('variables of one name and size keep their values, both ways; others begin anew', async () => {
    const target = newTarget()
    await apply(target, 1)
    poke(target, imageOf(target, 1) + 0x2010n, 0x1111n)
    poke(target, imageOf(target, 1) + 0x2020n, 0x2222n)
    await apply(target, 2)
    const second = imageOf(target, 2)
    expect([word(target, second + 0x2040n), word(target, second + 0x2030n)]).toEqual([0x1111n, 0n])
    poke(target, second + 0x2040n, 0x3333n)
    await rollbackTo(target, 1)
    expect(word(target, imageOf(target, 1) + 0x2010n)).toBe(0x3333n)
    expect(word(target, imageOf(target, 1) + 0x2020n) & 0xffffffffn).toBe(0x2222n)
  })

  test('numbers of the compiler are no part of a name; a name that is not unique says nothing; files tell names apart', async () => {
    const target = newTarget()
    const data = (...names: [string, string?][]) => names.map(([name, file], i) => datum(name, 0x10 + 8 * i, 8, file))
    const first = newPatch({ sequence: 1, data: data(['state.12'], ['twin.1'], ['twin.2'], ['own', 'a.c'], ['own', 'b.c']) })
    const second = newPatch({ sequence: 2, data: data(['own', 'b.c'], ['own', 'a.c'], ['state.7'], ['twin.1'], ['twin.2']) })
    await applyPatch(open(target), first)
    for (let i = 0n; i < 5n; i++) poke(target, imageOf(target, 1) + 0x2010n + 8n * i, 100n + i)
    expect((await applyPatch(open(target), second)).superseded?.kept).toEqual(['own', 'own', 'state.7'])
    const image = imageOf(target, 2)
    expect([0n, 1n, 2n, 3n, 4n].map((i) => word(target, image + 0x2010n + 8n * i))).toEqual([104n, 103n, 100n, 0n, 0n])
  })

  test('a thread in a pad that goes is waited for', async () => {
    const target = newTarget()
    await apply(target, 1)
    const worker = target.threads[1]
    if (worker === undefined) throw new Error('no worker')
    worker.instructionPointer = BASE + BigInt(RVA.padded) - 5n
    const error = await failure(applyPatch(open(target), PATCHES[2], { timeoutMs: 20 }))
    expect([error.code, error.facts.function]).toEqual(['BUSY', 'padded'])
    expect(inPlace(target)).toBe(1)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    worker.instructionPointer = 0x7000_0000_0000n
    await apply(target, 2)
    expect(inPlace(target)).toBe(2)
  })
})

type Act = (target: FakeTarget) => Promise<unknown>

interface Story {
  readonly name: string
  readonly prepare: Act
  readonly act: Act
  /** What may be in place afterwards, whatever step the engine dies or fails at. */
  readonly before: Sequence | 0
  readonly after: Sequence | 0
}

const STORIES: readonly Story[] = [
  { name: 'supersede', prepare: (t) => apply(t, 1), act: (t) => apply(t, 2), before: 1, after: 2 },
  {
    name: 'a second supersede',
    prepare: async (t) => {
      await apply(t, 1)
      await apply(t, 2)
    },
    act: (t) => apply(t, 3),
    before: 2,
    after: 3,
  },
  {
    name: 'rollback to the patch before',
    prepare: async (t) => {
      await apply(t, 1)
      await apply(t, 2)
    },
    act: (t) => rollbackTo(t, 1),
    before: 2,
    after: 1,
  },
  {
    name: 'rollback of a patch that superseded another',
    prepare: async (t) => {
      await apply(t, 1)
      await apply(t, 2)
    },
    act: rollback,
    before: 2,
    after: 0,
  },
]

async function stepsOf({ prepare, act }: Story): Promise<number[]> {
  const target = newTarget()
  await prepare(target)
  const from = target.log.length
  await act(target)
  return target.log.flatMap((step, i) => (i >= from && step.kind !== 'resume' ? [i] : []))
}

const CASES: (readonly [string, number, Story])[] = []
for (const story of STORIES) for (const step of await stepsOf(story)) CASES.push([story.name, step, story])

const REFUSAL = new HotpatchError('MEMORY_UNWRITABLE', 'the test says so')

describe.each(CASES)('%s, step %i', (_, step, { prepare, act, before, after }) => {
  const killed = async (): Promise<FakeTarget> => {
    const target = newTarget()
    await prepare(target)
    target.fault = killEngineAt(step)
    await expect(act(target)).rejects.toBeInstanceOf(EngineKilled)
    target.fault = undefined
    return target
  }

  test('killed: status, verify and check say it and change nothing', async () => {
    const target = await killed()
    const [bytes, steps] = [snapshot(target), target.log.length]
    const { patches, damaged } = statusOf(open(target))
    const { outcome } = verifyProcess(open(target))
    checkPatch(open(target), PATCHES[4])
    expect(damaged).toEqual([])
    expect(outcome === 'differs').toBe(patches.some(({ recovery }) => recovery !== 'none'))
    expect([snapshot(target), target.log.length]).toEqual([bytes, steps])
  })

  test('killed: the next engine completes or undoes, as status foretold', async () => {
    const target = await killed()
    const foretold = statusOf(open(target)).patches.map(({ recovery }) => recovery)
    const report = await rollbackPatch(open(target), { id: 'nobody' })
    const now = inPlace(target)
    expect([before, after]).toContain(now)
    const words = { complete: 'completed', withdraw: 'withdrawn', undo: 'undone', supersede: 'superseded', resume: 'resumed' } as const
    expect(report.recovered.map(({ outcome }) => outcome).sort()).toEqual(
      // What is withdrawn takes its name off its predecessor itself.
      foretold
        .flatMap((remedy) => (remedy === 'none' || (remedy === 'resume' && foretold.includes('withdraw')) ? [] : [words[remedy]]))
        .sort(),
    )
    expect(verifyProcess(open(target)).outcome).toBe(now === 0 ? 'nothing-to-verify' : 'verified')
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
  })

  test('killed: the same again ends as if nothing had been', async () => {
    const target = await killed()
    await act(target)
    expect(inPlace(target)).toBe(after)
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
  })

  test('killed: a later patch supersedes whatever is there', async () => {
    const target = await killed()
    await apply(target, 4)
    expect(inPlace(target)).toBe(4)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
  })

  test('fails, and so does all undoing: never between the two', async () => {
    const target = newTarget()
    await prepare(target)
    target.fault = failAt(step, REFUSAL)
    await act(target).catch((error) => expect(error).toBeInstanceOf(HotpatchError))
    target.fault = undefined
    expect([reachedBy(before), reachedBy(after)]).toContain(reached(target))
    await apply(target, 4)
    expect(inPlace(target)).toBe(4)
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
  })

  test('fails once: it is undone, or done and told as done', async () => {
    const target = newTarget()
    await prepare(target)
    let failed = false
    target.fault = (_step, at) => {
      if (at !== step || failed) return
      failed = true
      throw REFUSAL
    }
    const outcome = await act(target).then(
      () => after,
      () => before,
    )
    expect(inPlace(target)).toBe(outcome)
    expect(statusOf(open(target)).patches.every(({ recovery }) => recovery === 'none')).toBe(true)
  })
})

test('any sequence of patches and rollbacks, each killed or not at any step, is at every moment one patch or none', async () => {
  const what = fc.constantFrom<Sequence | 'rollback' | 'before'>(1, 2, 3, 4, 'rollback', 'before')
  const act = fc.record({ what, killAfter: fc.option(fc.nat(30)) })
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 8 }), async (acts) => {
      const target = newTarget()
      for (const { what: verb, killAfter } of acts) {
        target.fault = killAfter === null ? undefined : killEngineAt(target.log.length + killAfter)
        const run = async () => {
          if (verb === 'rollback') return rollback(target)
          if (verb !== 'before') return apply(target, verb)
          const patches = statusOf(open(target)).patches
          const to = patches.find(({ state }) => state === 'applied')?.supersedes?.sequence
          return to === undefined ? undefined : rollbackTo(target, to)
        }
        await run().catch((error) => {
          if (!(error instanceof EngineKilled)) expect(['SEQUENCE_NOT_HIGHER', 'PREDECESSOR_GONE']).toContain((error as HotpatchError).code)
        })
        target.fault = undefined
        statusOf(open(target))
      }
      await rollbackPatch(open(target), { id: 'nobody' })
      const now = inPlace(target)
      expect(verifyProcess(open(target)).outcome).toBe(now === 0 ? 'nothing-to-verify' : 'verified')
      await rollback(target)
      expect(snapshot(target)).toBe(ORIGINAL)
    }),
    { numRuns: 300 },
  )
})
