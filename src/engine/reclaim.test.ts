import { describe, expect, test } from 'vitest'
import { EngineKilled, type FakeTarget, fakeBackend, killEngineAt } from '../process/fake/index.ts'
import { findLedgers } from './find-ledgers.ts'
import { applyPatch, rollbackPatch, statusOf, verifyProcess } from './index.ts'
import type { Ledger } from './ledger.ts'
import { BASE, newPatch, newTarget, ownRegions, PATCH_RVA, RVA, snapshot } from './testing/world.ts'

type FakeThread = FakeTarget['threads'][number]

const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)
const ORIGINAL = snapshot(newTarget())
const NOWHERE = { code: false, data: false, constants: false }

const patch = (sequence = 1, escapes = NOWHERE) => newPatch({ id: `fix-${sequence}`, sequence, content: sequence, escapes })
const apply = (target: FakeTarget, sequence = 1) => applyPatch(open(target), patch(sequence))
const rollback = (target: FakeTarget) => rollbackPatch(open(target), { timeoutMs: 0 })
const imageOf = (target: FakeTarget): bigint => BigInt(statusOf(open(target)).patches[0]?.image.address ?? 0)

const stopsOf = (target: FakeTarget): number => target.log.filter(({ kind }) => kind === 'stop').length

function little(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  return bytes
}

const RBX = 3

/** Of the base image's writable memory, where no one looks for anything. */
const WORD = BASE + BigInt(RVA.variable) + 0x800n

describe('memory of a patch that is in place no more', () => {
  test('is given back when nothing leads into it, and said to be', async () => {
    const target = newTarget()
    await apply(target)
    const image = imageOf(target)
    const stopsBefore = stopsOf(target)
    const report = await rollback(target)
    expect(ownRegions(target)).toEqual([])
    expect(report.retired).toEqual([])
    expect(report.reclaim.memory.map(({ id, address }) => [id, BigInt(address) === image])).toEqual([
      ['fix-1', true],
      ['fix-1', false],
    ])
    // Every stop but the switch itself.
    expect(report.reclaim.stops).toBe(stopsOf(target) - stopsBefore - 1)
    expect(report.reclaim.stops).toBeGreaterThan(1)
    expect(snapshot(target)).toBe(ORIGINAL)
    expect(statusOf(open(target)).patches).toEqual([])
    expect(target.log.filter(({ kind }) => kind === 'unregisterUnwind').length).toBe(1)
  })

  test.each([
    ['its code', PATCH_RVA.plain + 3],
    ['its writable data', 0x2010],
    ['its constants', 0x110],
  ])('stays while a word of memory is an address in %s, and goes with a later command', async (_, rva) => {
    const target = newTarget()
    await apply(target)
    const image = imageOf(target)
    target.poke(WORD, little(image + BigInt(rva)))
    const report = await rollback(target)
    expect(report.reclaim.memory).toEqual([])
    expect(report.retired.length).toBe(2)
    expect(statusOf(open(target)).patches).toMatchObject([{ state: 'reverted', image: { mapped: true } }])

    target.poke(WORD, little(0n))
    const next = await applyPatch(open(target), patch(2))
    expect(next.reclaim.memory.map(({ id }) => id)).toEqual(['fix-1', 'fix-1'])
    expect(verifyProcess(open(target)).outcome).toBe('verified')
  })

  test.each(['word of memory', 'register'])(
    'goes while a %s is an address of a stub: the region stays, and goes with a later command',
    async (where) => {
      const target = newTarget()
      await apply(target)
      const [ledger] = findLedgers(open(target)).ledgers as [Ledger]
      expect(ledger.pairCount).toBeGreaterThan(0)
      const stub = ledger.address + BigInt(ledger.pairsOffset + 8)
      const [first, ...others] = target.threads as [FakeThread, ...FakeThread[]]
      if (where === 'register') target.threads = [{ ...first, registers: new Map([[RBX, stub]]) }, ...others]
      else target.poke(WORD, little(stub))
      const { memory } = (await rollback(target)).reclaim
      expect(memory.map(({ address }) => BigInt(address))).toEqual([ledger.image.address])

      target.threads = [first, ...others]
      target.poke(WORD, little(0n))
      const next = await apply(target, 2)
      expect(next.reclaim.memory.map(({ address }) => BigInt(address))).toEqual([ledger.address])
    },
  )

  test('stays while a register holds an address in it', async () => {
    const target = newTarget()
    await apply(target)
    const image = imageOf(target)
    const [first, ...others] = target.threads as [FakeThread, ...FakeThread[]]
    target.threads = [{ ...first, registers: new Map([[RBX, image + 0x2000n]]) }, ...others]
    expect((await rollback(target)).reclaim.memory).toEqual([])
    target.threads = [first, ...others]
    expect((await apply(target, 2)).reclaim.memory.length).toBe(2)
  })

  test('stays while a thread stands in it', async () => {
    const target = newTarget()
    await apply(target)
    const [first] = target.threads as [FakeThread]
    const outside = first.instructionPointer
    first.instructionPointer = imageOf(target) + BigInt(PATCH_RVA.nopped)
    expect((await rollbackPatch(open(target), { consistency: 'none' })).reclaim.memory).toEqual([])
    first.instructionPointer = outside
    expect((await apply(target, 2)).reclaim.memory.length).toBe(2)
  })

  test.each([
    ['functions', { ...NOWHERE, code: true }],
    ['variables', { ...NOWHERE, data: true }],
  ])('stays for good where the program may have handed its %s on', async (_, escapes) => {
    const target = newTarget()
    await applyPatch(open(target), patch(1, escapes))
    expect((await rollback(target)).reclaim.memory).toEqual([])
    expect((await apply(target, 2)).reclaim.memory).toEqual([])
  })

  test('of five patches one after the other, the last and the two before stay mapped, and can be gone back to', async () => {
    const target = newTarget()
    for (const sequence of [1, 2, 3, 4, 5]) await apply(target, sequence)
    const left = () => statusOf(open(target)).patches.map(({ id, state, image }) => `${id} ${state}${image.mapped ? '' : ', given back'}`)
    // The first holds the stubs of all.
    expect(left()).toEqual([
      'fix-1 superseded, given back',
      'fix-2 superseded, given back',
      'fix-3 superseded',
      'fix-4 superseded',
      'fix-5 applied',
    ])
    await rollbackPatch(open(target), { to: 4 })
    await rollbackPatch(open(target), { to: 3 })
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    await expect(rollbackPatch(open(target), { to: 2 })).rejects.toMatchObject({ code: 'PREDECESSOR_GONE' })
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
    expect(ownRegions(target)).toEqual([])
  })
})

describe('an engine that is killed while it gives memory back', async () => {
  const rehearsal = newTarget()
  await apply(rehearsal)
  const from = rehearsal.log.length
  await rollback(rehearsal)
  const steps = rehearsal.log.flatMap((step, i) => (i >= from && step.kind !== 'resume' ? [i] : []))

  test.each(steps)('before step %i: the next one goes on with it, and takes nothing of the target', async (step) => {
    const target = newTarget()
    await apply(target)
    const image = imageOf(target)
    target.fault = killEngineAt(step)
    await expect(rollback(target)).rejects.toBeInstanceOf(EngineKilled)
    target.fault = undefined
    expect(statusOf(open(target)).damaged).toEqual([])
    const isFree = !target.regions().some(({ start }) => start === image)
    if (isFree) target.addMapping(image, 0x1000, 'rw', Uint8Array.of(42), 'the program’s own')
    await rollbackPatch(open(target), { timeoutMs: 0 })
    await apply(target, 2)
    await rollback(target)
    expect(snapshot(target)).toBe(ORIGINAL)
    if (isFree) expect(target.peek(image, 1)).toEqual(Uint8Array.of(42))
    // Where nobody knows whether the unwinders still know the image, it stays.
    const left = statusOf(open(target)).patches
    expect(left.every(({ id, image }) => id === 'fix-1' && image.mapped)).toBe(true)
  })
})
