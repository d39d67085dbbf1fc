/** Patches for two base images of one process: both or none of them, in one stop. */
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../errors.ts'
import type { PatchImage } from '../patch/image.ts'
import { EngineKilled, type FakeFault, type FakeTarget, fakeBackend, killEngineAt } from '../process/fake/index.ts'
import { applyPatches, rollbackPatch, statusOf, verifyProcess } from './index.ts'
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
const inPlace = (target: FakeTarget) => statusOf(open(target)).patches.flatMap(({ id, state }) => (state === 'applied' ? [id] : []))
/** The log counts resumes, too, before which nothing can fail. */
const STEPS = await (async () => {
  const target = twoModules()
  await apply(target)
  return target.log.flatMap(({ kind }, index) => (kind === 'resume' ? [] : [index]))
})()

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

  test('each can be undone on its own', async () => {
    const target = twoModules()
    await apply(target)
    await rollbackPatch(open(target), { id: 'server-1' })
    expect(stateOf(target)).toEqual(['original', 'patched'])
    await rollbackPatch(open(target), { id: 'other-1' })
    expect(codes(target)).toEqual(ORIGINAL)
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
    expect(inPlace(target)).toEqual(came === 'patched' ? ['server-1', 'other-1'] : [])
  })

  test('is not reached by an engine that is killed: each is whole or not there, and the next apply completes', async () => {
    const target = twoModules()
    target.fault = killEngineAt(step)
    await expect(apply(target)).rejects.toBeInstanceOf(EngineKilled)
    target.fault = undefined
    expect((await apply(target)).every(({ outcome }) => outcome === 'applied' || outcome === 'already-applied')).toBe(true)
    expect(stateOf(target)).toEqual(['patched', 'patched'])
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    for (const id of ['server-1', 'other-1']) await rollbackPatch(open(target), { id })
    expect(codes(target)).toEqual(ORIGINAL)
  })
})
