/** Patches come and go for a long time: the process does not grow, and memory that something leads into stays. */
import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { applyPatch, rollbackPatch, statusOf, verifyProcess } from '../../src/engine/index.ts'
import type { PatchImage } from '../../src/patch/image.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import type { Backend, Process } from '../../src/process/contract.ts'
import { hostBackend } from '../../src/process/host.ts'
import { PATIENT, rounds } from '../brought.ts'
import { flavourHere } from './flavours.ts'
import { buildSeries, runSeries, type Series, type SeriesServer } from './series.ts'
import { sleep } from './target.ts'

const CYCLES = rounds(100)
/** At rest there may be a few whose addresses lie around on stacks. */
const AT_MOST = 6
const MAPPING = 'hotpatch:'

describe.skipIf(process.platform !== 'linux')('memory', () => {
  let series: Series
  let backend: Backend
  let server: SeriesServer
  let target: Process
  let images: PatchImage[]

  beforeAll(async () => {
    series = buildSeries(flavourHere('plain'))
    images = [1, 2, 3].map((sequence) => readPatchImage(series.patch(sequence)))
    backend = await hostBackend()
    server = await runSeries(series, 8)
    target = backend.open(server.pid)
  })
  afterAll(async () => {
    target.close()
    await server.stop()
    rmSync(series.folder, { recursive: true, force: true })
  })

  const ours = (): number => new Set(target.regions().flatMap(({ name }) => (name.includes(MAPPING) ? [name] : []))).size
  const mapped = (): number => target.regions().filter(({ name }) => name.includes(MAPPING)).length

  test(`${CYCLES} times applied and rolled back: what is mapped does not grow`, async () => {
    const [image] = images as [PatchImage]
    let most = 0
    let reclaimed = 0
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      const applied = await applyPatch(target, image, PATIENT)
      const undone = await rollbackPatch(target, PATIENT)
      reclaimed += applied.reclaim.memory.length + undone.reclaim.memory.length
      most = Math.max(most, statusOf(target).patches.length)
    }
    expect(most).toBeLessThanOrEqual(AT_MOST)
    expect(reclaimed).toBeGreaterThan(2 * CYCLES - 2 * AT_MOST)
    await sleep(50)
    expect((await server.during(80)).version0).toBeGreaterThan(0)
    expect(server.stats().bad).toBe(0)
    expect(ours()).toBeLessThanOrEqual(2 * AT_MOST)
  })

  test('superseding again and again: the two before the one in place stay, older ones go', async () => {
    for (let cycle = 0; cycle < rounds(20); cycle++) {
      for (const image of images) await applyPatch(target, image, PATIENT)
      expect(statusOf(target).patches.filter(({ state, image }) => state === 'superseded' && image.mapped).length).toBeGreaterThanOrEqual(2)
      expect(await rollbackPatch(target, { ...PATIENT, to: 2 })).toMatchObject({ to: { sequence: 2 } })
      expect(await rollbackPatch(target, { ...PATIENT, to: 1 })).toMatchObject({ to: { sequence: 1 } })
      expect(verifyProcess(target).outcome).toBe('verified')
      await rollbackPatch(target, PATIENT)
    }
    expect(statusOf(target).patches.length).toBeLessThanOrEqual(3 * AT_MOST)
    expect(mapped()).toBeLessThanOrEqual(3 * 6 * AT_MOST)
    expect(server.stats().bad).toBe(0)
  })
})
