/** Patches for two base images of one process: both or none of them, in one stop. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../errors.ts'
import type { PatchImage } from '../patch/image.ts'
import { EngineKilled, type FakeFault, type FakeTarget, fakeBackend, killEngineAt } from '../process/fake/index.ts'
import { checkPatches } from './check.ts'
import { applyPatches, rollbackPatch, rollbackPatches, statusOf, verifyProcess } from './index.ts'
import { BASE, baseModule, newPatch, newTarget, RVA } from './testing/world.ts'

const OTHER_BASE = BASE + 0x100_0000n
const OTHER_BUILD_ID = `a0${newPatch().manifest.base.buildId?.slice(2)}`
const CODE = { size: 0x2000, at: 0x1000n }

const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)
const twoModules = (): FakeTarget =>
  newTarget(7, [baseModule(), baseModule({ base: OTHER_BASE, buildId: OTHER_BUILD_ID, path: '/usr/lib/libother.so' })])

/** The same patch for the second module. */
function patchForOther(options: Parameters<typeof newPatch>[0] = {}): PatchImage {
  const patch = newPatch({ id: 'other-1', content: 2, ...options })
  const bases = patch.table.bases.map((base) => ({ ...base, originalTimeDateStamp: 0x332211a0 }))
  const base = { ...patch.manifest.base, name: 'libother.so', buildId: OTHER_BUILD_ID }
  return { ...patch, table: { ...patch.table, bases }, manifest: { ...patch.manifest, base } }
}

const both = (): PatchImage[] => [newPatch(), patchForOther()]
const apply = (target: FakeTarget, images = both()) => applyPatches(open(target), images, { timeoutMs: 400 })
const code = (target: FakeTarget, base: bigint) => Buffer.from(target.peek(base + CODE.at, CODE.size) ?? []).toString('hex')
const codes = (target: FakeTarget) => [code(target, BASE), code(target, OTHER_BASE)]
const ORIGINAL = codes(twoModules())
/** By what threads find at the entries: patches that come after one that was taken back have stubs elsewhere. */
function stateOf(target: FakeTarget): string[] {
  return codes(target).map((bytes, i) => {
    const entry = (text: string | undefined, rva: number) => text?.slice((rva - 0x1000) * 2).slice(0, 4)
    const changed = [RVA.padded, RVA.nopped, RVA.plain].filter((rva) => entry(bytes, rva) !== entry(ORIGINAL[i], rva)).length
    return changed === 3 ? 'patched' : bytes === ORIGINAL[i] ? 'original' : 'mixed'
  })
}
const IDS = ['server-1', 'other-1']
function inPlace(target: FakeTarget): string[] {
  const ids = statusOf(open(target)).patches.flatMap(({ id, state }) => (state === 'applied' ? [id] : []))
  return ids.sort().reverse()
}
const rollBack = (target: FakeTarget) => rollbackPatches(open(target), IDS, { timeoutMs: 400 })
/** The next engine that comes by. */
const recover = (target: FakeTarget) => rollbackPatch(open(target), { id: 'nobody' })

async function patched(): Promise<FakeTarget> {
  const target = twoModules()
  await apply(target)
  return target
}

/** What `run` does, step by step. The log counts resumes, too, before which nothing can fail. */
async function stepsOf(target: FakeTarget, run: (target: FakeTarget) => Promise<unknown>): Promise<number[]> {
  const from = target.log.length
  await run(target)
  return target.log.flatMap(({ kind }, index) => (kind === 'resume' || index < from ? [] : [index]))
}

const STEPS = await stepsOf(twoModules(), apply)
const STEPS_BACK = await stepsOf(await patched(), rollBack)

async function failure(run: Promise<unknown>): Promise<HotpatchError> {
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof HotpatchError) return error
  throw error ?? new Error('it did not fail')
}

describe('two patches for two base images', () => {
  test('both switch in one stop', async () => {
    const target = twoModules()
    const reports = await apply(target)
    expect(reports.map(({ id, outcome, base }) => [id, outcome, base.name])).toEqual([
      ['server-1', 'applied', 'libserver.so'],
      ['other-1', 'applied', 'libother.so'],
    ])
    const stops = target.log.filter(({ kind }) => kind === 'stop')
    expect(stops).toHaveLength(1)
    const inStop = target.log.flatMap((step) => (step.kind === 'write' && step.stopped ? [step.address] : []))
    expect(inStop.filter((address) => address < OTHER_BASE)).toHaveLength(3)
    expect(inStop.filter((address) => address >= OTHER_BASE)).toHaveLength(3)
    expect(reports[0]?.stop).toEqual(reports[1]?.stop)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    expect(inPlace(target)).toEqual(['server-1', 'other-1'])
  })

  test('the memory map is told once for both, once more after one was mapped, and before the stop', async () => {
    const target = twoModules()
    expect(checkPatches(open(target), both()).map(({ outcome }) => outcome)).toEqual(['would-apply', 'would-apply'])
    expect(target.looks).toBe(1)
    await apply(target)
    expect(target.looks).toBe(1 + 3)
    await apply(target)
    expect(target.looks).toBe(1 + 3 + 1)
  })

  test('each can be undone on its own', async () => {
    const target = twoModules()
    await apply(target)
    await rollbackPatch(open(target), { id: 'server-1' })
    expect(stateOf(target)).toEqual(['original', 'patched'])
    await rollbackPatch(open(target), { id: 'other-1' })
    expect(codes(target)).toEqual(ORIGINAL)
  })

  test('both are undone in one stop', async () => {
    const target = await patched()
    const from = target.log.length
    const reports = await rollBack(target)
    expect(reports.map(({ id, outcome }) => [id, outcome])).toEqual(IDS.map((id) => [id, 'rolled-back']))
    expect(target.log.slice(from).filter(({ kind }) => kind === 'stop')).toHaveLength(1)
    expect(reports[0]?.stop).toEqual(reports[1]?.stop)
    expect(codes(target)).toEqual(ORIGINAL)
  })

  test('one of those that are to be undone is not applied: the other goes, and the first is told of', async () => {
    const target = await patched()
    await rollbackPatch(open(target), { id: 'other-1' })
    expect((await rollBack(target)).map(({ id, outcome }) => [id, outcome])).toEqual([
      ['server-1', 'rolled-back'],
      ['other-1', 'nothing-to-roll-back'],
    ])
    expect(codes(target)).toEqual(ORIGINAL)
  })

  test('a thread inside the second patch: neither is undone', async () => {
    const target = await patched()
    const [worker] = target.threads
    const image = statusOf(open(target)).patches.find(({ id }) => id === 'other-1')?.functions[0]?.target
    if (worker === undefined || image === undefined) throw new Error('nobody to stand in the way')
    worker.instructionPointer = BigInt(image) + 2n
    expect((await failure(rollBack(target))).code).toBe('BUSY')
    expect(inPlace(target)).toEqual(IDS)
    expect(stateOf(target)).toEqual(['patched', 'patched'])
  })

  test('bytes of the second are not what hotpatch wrote: neither is undone', async () => {
    const target = await patched()
    target.poke(OTHER_BASE + BigInt(RVA.plain), Uint8Array.of(0xcc))
    expect((await failure(rollBack(target))).code).toBe('VERIFY_FAILED')
    expect(stateOf(target)[0]).toBe('patched')
  })

  test('what is applied already stays, and is said to be', async () => {
    const target = twoModules()
    const [first, second] = both() as [PatchImage, PatchImage]
    await apply(target, [second])
    const reports = await apply(target, [first, second])
    expect(reports.map(({ id, outcome }) => [id, outcome])).toEqual([
      ['server-1', 'applied'],
      ['other-1', 'already-applied'],
    ])
    expect((await apply(target, [first, second])).map(({ outcome }) => outcome)).toEqual(['already-applied', 'already-applied'])
  })

  test('one that is refused: the other is not touched either', async () => {
    const target = newTarget()
    const error = await failure(apply(target))
    expect([error.code, error.facts.id]).toEqual(['BASE_NOT_MAPPED', 'other-1'])
    expect(target.log).toEqual([])
  })

  test('two for the same base image are refused', async () => {
    const target = twoModules()
    const error = await failure(apply(target, [newPatch(), newPatch({ id: 'server-2', sequence: 2, content: 3 })]))
    expect([error.code, error.facts.ids]).toEqual(['SAME_BASE', ['server-1', 'server-2']])
    expect(target.log).toEqual([])
  })

  test('a thread inside a function of the second: BUSY names it, and nothing is left of either', async () => {
    const target = twoModules()
    const regions = target.regions().length
    const [worker] = target.threads
    if (worker === undefined) throw new Error('no thread')
    worker.instructionPointer = OTHER_BASE + BigInt(RVA.plain) + 2n
    const error = await failure(apply(target))
    expect([error.code, error.facts.function]).toEqual(['BUSY', 'plain'])
    expect(codes(target)).toEqual(ORIGINAL)
    expect(target.regions()).toHaveLength(regions)
  })

  test('the callback of the second cancels: the first is told that it is undone', async () => {
    const target = twoModules()
    const images = [newPatch({ callout: true }), patchForOther({ callout: true })]
    let calls = 0
    target.onCall = () => (++calls === 2 ? 5n : 0n)
    expect((await failure(apply(target, images))).code).toBe('CALLOUT_CANCELLED')
    // before, before, undone
    expect(calls).toBe(3)
    expect(codes(target)).toEqual(ORIGINAL)
  })

  test('both take the places of those before them', async () => {
    const target = twoModules()
    await apply(target)
    const next = [newPatch({ id: 'server-2', sequence: 2 }), patchForOther({ id: 'other-2', sequence: 2 })]
    const reports = await apply(target, next)
    expect(reports.map(({ superseded }) => superseded?.id)).toEqual(['server-1', 'other-1'])
    expect(inPlace(target)).toEqual(['server-2', 'other-2'])
    expect(verifyProcess(open(target)).outcome).toBe('verified')
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

describe.each(STEPS)('step %i of applying both', (step) => {
  test('fails: both are applied, or neither', async () => {
    const target = twoModules()
    target.fault = failOnceAt(step)
    const came = await apply(target).then(
      () => 'patched',
      (error) => {
        expect(error).toBe(REFUSAL)
        return 'original'
      },
    )
    expect(stateOf(target)).toEqual([came, came])
    expect(inPlace(target)).toEqual(came === 'patched' ? IDS : [])
  })

  test('is not reached by an engine that is killed: the next engine has both or neither', async () => {
    const target = twoModules()
    target.fault = killEngineAt(step)
    await expect(apply(target)).rejects.toBeInstanceOf(EngineKilled)
    target.fault = undefined
    await recover(target)
    expect([[], IDS]).toContainEqual(inPlace(target))
    const both = inPlace(target).length > 0 ? 'patched' : 'original'
    expect(stateOf(target)).toEqual([both, both])
    expect((await apply(target)).every(({ outcome }) => outcome === 'applied' || outcome === 'already-applied')).toBe(true)
    expect(stateOf(target)).toEqual(['patched', 'patched'])
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    await rollBack(target)
    expect(codes(target)).toEqual(ORIGINAL)
  })
})

describe.each(STEPS_BACK)('step %i of undoing both', (step) => {
  const settled = (target: FakeTarget): void => {
    expect([[], IDS]).toContainEqual(inPlace(target))
    const both = inPlace(target).length > 0 ? 'patched' : 'original'
    expect(stateOf(target)).toEqual([both, both])
    if (both === 'original') expect(codes(target)).toEqual(ORIGINAL)
    else expect(verifyProcess(open(target)).outcome).toBe('verified')
  }

  test('fails: both are undone, or neither', async () => {
    const target = await patched()
    target.fault = failOnceAt(step)
    await rollBack(target).catch((error) => expect(error).toBe(REFUSAL))
    settled(target)
  })

  test('is not reached by an engine that is killed: the next engine has both or neither', async () => {
    const target = await patched()
    target.fault = killEngineAt(step)
    await expect(rollBack(target)).rejects.toBeInstanceOf(EngineKilled)
    target.fault = undefined
    await recover(target)
    settled(target)
    await rollBack(target)
    expect(codes(target)).toEqual(ORIGINAL)
  })
})

test('an engine is killed again and again, while it recovers, too: both or neither in the end', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom('apply', 'back'), fc.nat(60)), { maxLength: 5 }), async (kills) => {
      const target = twoModules()
      for (const [verb, step] of kills) {
        target.fault = killEngineAt(target.log.length + step)
        await (verb === 'apply' ? apply(target) : rollBack(target)).catch((error) => expect(error).toBeInstanceOf(EngineKilled))
        target.fault = undefined
        statusOf(open(target))
      }
      await recover(target)
      expect([[], IDS]).toContainEqual(inPlace(target))
      await rollBack(target)
      expect(codes(target)).toEqual(ORIGINAL)
    }),
    { numRuns: 200 },
  )
})
