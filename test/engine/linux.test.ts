import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { applyPatch, checkPatch, rollbackPatch, statusOf, statusOfAll, verifyProcess } from '../../src/engine/index.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import type { Backend, Process } from '../../src/process/contract.ts'
import { hostBackend } from '../../src/process/host.ts'
import { busyThreads, PATIENT, rounds, script } from '../brought.ts'
import { flavourHere, flavoursHere } from './flavours.ts'
import { type Built, build, type Running, run } from './target.ts'

const THREADS = busyThreads(4)
/** Rounds of each worker of a server that serves on. */
const ENOUGH = 1000
/** An engine is killed at each of its steps; where that takes too long, at every few. */
const STRIDE = rounds(1) === rounds(8) ? 4 : 1

const onLinux = process.platform === 'linux'

describe.skipIf(!onLinux).each(flavoursHere('linux'))('a server under load, $compiler $flags', (flavour) => {
  let built: Built
  let server: Running
  let backend: Backend
  let target: Process

  beforeAll(async () => {
    built = build(flavour)
    backend = await hostBackend()
  })
  afterAll(() => rmSync(built.folder, { recursive: true, force: true }))
  beforeEach(async () => {
    server = await run(built, THREADS)
    target = backend.open(server.pid)
  })
  afterEach(async () => {
    target.close()
    await server.stop()
  })

  const patch = (options?: { id?: string; sequence?: number }) => readPatchImage(built.patch(options))

  test('check, apply, verify, rollback, apply again: every reply is right throughout', async () => {
    const image = patch()
    const original = codeOf(target)
    expect(checkPatch(target, image)).toMatchObject({ outcome: 'would-apply', blockers: [] })
    expect((await server.during(100)).fixed).toBe(0)

    const applied = await applyPatch(target, image, PATIENT)
    expect(applied).toMatchObject({ outcome: 'applied', stop: { threads: THREADS + 1 } })
    expect(applied.functions.map(({ name }) => name).sort()).toEqual(['bump', 'classify', 'greet', 'handle'])
    expect(applied.functions.map(({ redirect }) => redirect)).toContain(flavour.redirect)
    await server.goesOn()
    const after = await server.during(200, ENOUGH)
    expect(after.old).toBe(0)
    expect(after.fixed).toBeGreaterThan(1000)
    // The fixed bump() counts in millions, in the variable that the base image has.
    expect(server.stats().hits).toBeGreaterThan(1_000_000)

    expect(verifyProcess(target)).toMatchObject({ outcome: 'verified', patches: [{ findings: [] }] })
    expect(statusOf(target).patches).toMatchObject([{ id: 'server-1', state: 'applied' }])
    expect(statusOfAll(backend).processes.map(({ pid }) => pid)).toContain(server.pid)
    expect((await applyPatch(target, image, PATIENT)).outcome).toBe('already-applied')

    expect((await rollbackPatch(target, PATIENT)).outcome).toBe('rolled-back')
    expect(differences(original, codeOf(target))).toEqual([])
    await server.goesOn()
    const undone = await server.during(200, ENOUGH)
    expect(undone.fixed).toBe(0)
    expect(undone.old).toBeGreaterThan(1000)

    expect((await applyPatch(target, image, PATIENT)).outcome).toBe('applied')
    expect(verifyProcess(target).outcome).toBe('verified')
    expect(server.stats().bad).toBe(0)
  })

  const cycles = rounds(50)
  test(`${cycles} cycles under load`, async () => {
    const image = patch()
    const original = codeOf(target)
    for (let i = 0; i < cycles; i++) {
      await applyPatch(target, image, PATIENT)
      await rollbackPatch(target, PATIENT)
    }
    expect(differences(original, codeOf(target))).toEqual([])
    const later = await server.during(200, ENOUGH)
    expect(later.old).toBeGreaterThan(1000)
    expect(server.stats().bad).toBe(0)
    const left = statusOf(target).patches.length
    // A jump table of absolute addresses holds places in functions, which might be handed on.
    if (image.manifest.escapes?.code !== false) expect(left).toBe(cycles)
    else expect(left).toBeLessThan(10)
  })

  test('a byte changed behind its back is found and named', async () => {
    const { functions, mappings } = await applyPatch(target, patch(), PATIENT)
    const greet = functions.find(({ name }) => name === 'greet')
    if (greet === undefined) throw new Error('greet was not patched')
    const at = BigInt(mappings.find(({ what }) => what === 'image')?.address ?? 0)
    const code = BigInt(greet.target)
    const before = target.read(code, 1)
    target.write(code, Uint8Array.of((before[0] as number) ^ 1))
    const finding = verifyProcess(target).patches[0]?.findings[0]
    target.write(code, before)
    expect(finding?.what).toBe('image')
    expect(finding?.function).toContain('greet')
    expect(BigInt(finding?.address ?? 0)).toBeGreaterThanOrEqual(at)
    expect(verifyProcess(target).outcome).toBe('verified')
  })
})

describe.skipIf(!onLinux)('an engine that dies', () => {
  let built: Built
  let backend: Backend
  let file: string

  beforeAll(async () => {
    built = build(flavourHere('killed'))
    backend = await hostBackend()
    file = join(built.folder, 'server.patch.so')
    writeFileSync(file, built.patch())
  })
  afterAll(() => rmSync(built.folder, { recursive: true, force: true }))

  const engine = script('killed-engine', import.meta.url)
  const die = (pid: number, verb: string, step: string) =>
    spawnSync(process.execPath, [...engine, String(pid), file, verb, step], { encoding: 'utf8', timeout: 60_000 })

  type Look = (target: Process, server: Running) => Promise<void>

  /** Kills an engine in the stop, then at each of its calls in turn until it has no more to make, and looks after each death. */
  async function dieEverywhere(verb: 'apply' | 'rollback', look: Look): Promise<void> {
    expect(await dieAt(verb, 'switch', look)).toBe('died')
    let step = 0
    while ((await dieAt(verb, String(step), look)) === 'died') step += STRIDE
    expect(step).toBeGreaterThan(verb === 'apply' ? 9 : 3)
  }

  async function dieAt(verb: 'apply' | 'rollback', step: string, look: Look): Promise<'died' | 'done'> {
    const server = await run(built, THREADS)
    try {
      if (verb === 'rollback') await using(backend, server.pid, (target) => applyPatch(target, readPatchImage(built.patch()), PATIENT))
      const { signal, status, stderr } = die(server.pid, verb, step)
      if (status === 0) return 'done'
      expect([step, signal, stderr]).toEqual([step, 'SIGKILL', ''])
      const served = await server.during(100, ENOUGH)
      expect(served.old + served.fixed).toBeGreaterThan(100)
      await using(backend, server.pid, (target) => look(target, server))
      expect(server.stats().bad).toBe(0)
      return 'died'
    } finally {
      await server.stop()
    }
  }

  test('at any step of apply: the target serves on, the next apply completes, a rollback restores', async () => {
    await dieEverywhere('apply', async (target, server) => {
      statusOf(target)
      await applyPatch(target, readPatchImage(built.patch()), PATIENT)
      expect(verifyProcess(target).outcome).toBe('verified')
      await server.goesOn()
      expect((await server.during(50)).old).toBe(0)
      await rollbackPatch(target, PATIENT)
      await server.goesOn()
      expect((await server.during(50)).fixed).toBe(0)
    })
  })

  test('at any step of rollback: the target serves on, the next rollback restores', async () => {
    await dieEverywhere('rollback', async (target, server) => {
      await rollbackPatch(target, PATIENT)
      await server.goesOn()
      expect((await server.during(50)).fixed).toBe(0)
      expect(statusOf(target).patches.every(({ state }) => state === 'reverted')).toBe(true)
    })
  })
})

async function using<T>(backend: Backend, pid: number, use: (target: Process) => Promise<T>): Promise<T> {
  const target = backend.open(pid)
  try {
    return await use(target)
  } finally {
    target.close()
  }
}

/** The executable pages of the main program. */
function codeOf(target: Process): Buffer {
  const main = target.modules()[0]
  if (main === undefined) throw new Error('the process maps no program')
  const end = main.base + BigInt(main.size)
  const code = target.regions().filter((region) => region.execute && region.start >= main.base && region.end <= end)
  return Buffer.concat(code.map(({ start, end: last }) => target.read(start, Number(last - start))))
}

/** What is at which offset instead of what was there, as far as it fits on a screen. */
function differences(before: Buffer, after: Buffer): string[] {
  const found = before.length === after.length ? [] : [`${before.length} bytes, ${after.length} bytes`]
  for (let at = 0; at < before.length && found.length < 10; at++)
    if (before[at] !== after[at]) found.push(`0x${at.toString(16)}: ${before[at]}, ${after[at]}`)
  return found
}
