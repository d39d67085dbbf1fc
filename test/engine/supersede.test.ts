/** Cumulative patches of a server under load: each takes the place of the one before, functions come and go, what was counted stays. */
import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { applyPatch, checkPatch, rollbackPatch, statusOf, verifyProcess } from '../../src/engine/index.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import type { Backend, Process } from '../../src/process/contract.ts'
import { hostBackend } from '../../src/process/host.ts'
import { AS_FAST_AS_IT_CAN, busyThreads, LIGHT_LOAD, PATIENT, rounds, script } from '../brought.ts'
import { flavourHere, flavoursHere } from './flavours.ts'
import { buildSeries, runSeries, type Series, type SeriesServer } from './series.ts'
import { sleep } from './target.ts'

const THREADS = busyThreads(4)
/** As in linux.test.ts. */
const STRIDE = rounds(1) === rounds(8) ? 9 : 1
const onLinux = process.platform === 'linux'

/** Which versions answered within a moment. */
async function answering(server: SeriesServer): Promise<number[]> {
  await server.goesOn()
  const counted = await server.during(80)
  return ([0, 1, 2, 3] as const).filter((version) => counted[`version${version}`] > 0)
}

/** The executable pages of the main program. Between its segments there may be room for ours: on ARM64 they lie 64 KB apart. */
function codeOf(target: Process): Buffer {
  const main = target.modules()[0]
  if (main === undefined) throw new Error('the process maps no program')
  const end = main.base + BigInt(main.size)
  const code = target
    .regions()
    .filter((region) => region.execute && region.start >= main.base && region.end <= end && !region.name.includes('hotpatch:'))
  return Buffer.concat(code.map(({ start, end: last }) => target.read(start, Number(last - start))))
}

describe.skipIf(!onLinux).each(flavoursHere('series'))('cumulative patches, $compiler $flags', (flavour) => {
  let series: Series
  let backend: Backend
  let server: SeriesServer
  let target: Process

  beforeAll(async () => {
    series = buildSeries(flavour)
    backend = await hostBackend()
  })
  afterAll(() => rmSync(series.folder, { recursive: true, force: true }))
  async function serve(load = LIGHT_LOAD): Promise<void> {
    server = await runSeries(series, THREADS, load)
    target = backend.open(server.pid)
  }
  afterEach(async () => {
    target.close()
    await server.stop()
  })

  const image = (sequence: number) => readPatchImage(series.patch(sequence))
  const apply = (sequence: number) => applyPatch(target, image(sequence), PATIENT)

  test('one, two, three; back to two and one; the original program', async () => {
    await serve()
    const original = codeOf(target)
    expect((await apply(1)).functions.map(({ name }) => name).sort()).toEqual(['classify', 'greet', 'tick'])
    expect(await answering(server)).toEqual([1])

    expect(checkPatch(target, image(2))).toMatchObject({ outcome: 'would-apply', supersedes: { id: 'fix-1', sequence: 1 } })
    const second = await apply(2)
    expect(second.superseded).toMatchObject({ id: 'fix-1', sequence: 1, restored: ['classify'], kept: ['ticks'] })
    expect(second.stop?.threads).toBe(THREADS + 1)
    expect(await answering(server)).toEqual([2])
    expect(verifyProcess(target)).toMatchObject({ outcome: 'verified', patches: [{ id: 'fix-2', findings: [] }] })

    const third = await apply(3)
    expect(third.superseded).toMatchObject({ id: 'fix-2', restored: [] })
    expect(third.superseded?.kept.toSorted()).toEqual(['spare', 'ticks'])
    expect(await answering(server)).toEqual([3])
    expect(verifyProcess(target).outcome).toBe('verified')
    expect(statusOf(target).patches.map(({ id, state }) => [id, state])).toEqual([
      ['fix-1', 'superseded'],
      ['fix-2', 'superseded'],
      ['fix-3', 'applied'],
    ])
    await expect(apply(2)).rejects.toMatchObject({ code: 'SEQUENCE_NOT_HIGHER' })

    for (const sequence of [2, 1]) {
      expect(await rollbackPatch(target, { ...PATIENT, to: sequence })).toMatchObject({
        outcome: 'rolled-back',
        to: { id: `fix-${sequence}` },
      })
      expect(await answering(server)).toEqual([sequence])
      expect(verifyProcess(target).outcome).toBe('verified')
    }
    // Two patches and two rollbacks later, the counter has gone on.
    expect(server.stats().ticks).toBeGreaterThan(1000)
    await rollbackPatch(target, PATIENT)
    expect(codeOf(target).equals(original)).toBe(true)
    expect(await answering(server)).toEqual([0])
    expect(server.stats().bad).toBe(0)
  })

  test(`${4 * rounds(10)} times up and down under load`, async () => {
    await serve(AS_FAST_AS_IT_CAN)
    const original = codeOf(target)
    const images = [1, 2, 3].map(image)
    for (let round = 0; round < rounds(10); round++) {
      for (const patch of images) await applyPatch(target, patch, PATIENT)
      await (round % 2 === 0 ? rollbackPatch(target, { ...PATIENT, to: 2 }) : rollbackPatch(target, PATIENT))
      if (round % 2 === 0) await rollbackPatch(target, PATIENT)
      await sleep(5)
    }
    expect(codeOf(target).equals(original)).toBe(true)
    expect(await answering(server)).toEqual([0])
    expect(server.stats().bad).toBe(0)
  })
})

describe.skipIf(!onLinux)('an engine that dies', () => {
  let series: Series
  let backend: Backend
  const engine = script('killed-engine', import.meta.url)

  beforeAll(async () => {
    series = buildSeries(flavourHere('killedSeries'))
    for (const sequence of [1, 2, 3]) writeFileSync(join(series.folder, `fix-${sequence}.so`), series.patch(sequence))
    backend = await hostBackend()
  })
  afterAll(() => rmSync(series.folder, { recursive: true, force: true }))

  async function dieAt(verb: string, step: string, before: number, after: number): Promise<'died' | 'done'> {
    const server = await runSeries(series, THREADS)
    const target = backend.open(server.pid)
    try {
      for (const sequence of [1, 2]) if (sequence <= before) await applyPatch(target, readPatchImage(series.patch(sequence)), PATIENT)
      const file = join(series.folder, `fix-${after}.so`)
      const died = spawnSync(process.execPath, [...engine, String(server.pid), file, verb, step], {
        encoding: 'utf8',
        timeout: 60_000,
      })
      if (died.status === 0) return 'done'
      expect([step, died.signal, died.stderr]).toEqual([step, 'SIGKILL', ''])
      expect([before, after]).toEqual(expect.arrayContaining(await answering(server)))

      const { patches, damaged } = statusOf(target)
      expect(damaged).toEqual([])
      const unfinished = patches.filter(({ recovery }) => recovery !== 'none').map(({ id }) => id)
      const { recovered } = await rollbackPatch(target, { id: 'nobody' })
      // What status announced is what is done; where one thing settles another, that is not done again.
      expect(unfinished).toEqual(expect.arrayContaining(recovered.map(({ id }) => id)))
      expect(recovered.length > 0).toBe(unfinished.length > 0)
      expect(statusOf(target).patches.every(({ recovery }) => recovery === 'none')).toBe(true)
      const [now, ...mixed] = await answering(server)
      expect([before, after]).toContain(now)
      expect(mixed).toEqual([])
      expect(verifyProcess(target).outcome).toBe('verified')
      await applyPatch(target, readPatchImage(series.patch(3)), PATIENT)
      expect(await answering(server)).toEqual([3])
      await rollbackPatch(target, PATIENT)
      expect(await answering(server)).toEqual([0])
      expect(server.stats().bad).toBe(0)
      return 'died'
    } finally {
      target.close()
      await server.stop()
    }
  }

  test.each([
    ['supersede', 'apply', 1, 2],
    ['a rollback to the patch before', 'to:1', 2, 1],
  ] as const)('at any step of %s: it serves on, and the next engine completes or undoes', async (_, verb, before, after) => {
    expect(await dieAt(verb, 'switch', before, after)).toBe('died')
    let step = 0
    while ((await dieAt(verb, String(step), before, after)) === 'died') step += STRIDE
    expect(step).toBeGreaterThan(6)
  })
})
