/** Functions that are on stacks when a patch of them comes: refused by name, or waited for, never patched underneath. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { applyPatch, rollbackPatch, statusOf } from '../../src/engine/index.ts'
import { framesInside } from '../../src/engine/stacks/frames-inside.ts'
import { HotpatchError } from '../../src/errors.ts'
import type { PatchImage } from '../../src/patch/image.ts'
import type { Process } from '../../src/process/contract.ts'
import { hostBackend } from '../../src/process/host.ts'
import { parseStatus, readProc } from '../../src/process/linux/proc.ts'
import { script, within } from '../brought.ts'
import { endTargets, type Started, startApart, until } from '../process/targets.ts'
import { flavoursHere } from './flavours.ts'
import { buildPair, type Pair } from './pair.ts'

afterAll(endTargets)

/** As in busy/main.c. */
const FIELDS = ['function', 'in_ms', 'out_ms', 'running', 'inside', 'old', 'fixed', 'bad'] as const
type Field = (typeof FIELDS)[number]
const FUNCTIONS = ['slow', 'rare', 'sorts', 'unmarked', 'raises'] as const
const THREADS = 3
const LONG = 600_000n

const FOLLOWER = script('follower', import.meta.url)

/** Threads of the process that are traced. */
const tracersOf = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`)
    .map(Number)
    .filter((tid) => parseStatus(readProc(`/proc/${pid}/task/${tid}/status`) ?? '').get('TracerPid') !== '0')

const onLinux = process.platform === 'linux'

describe.skipIf(!onLinux).each(flavoursHere('busy'))('busy functions, $compiler $flags', ({ compiler, flags }) => {
  let pair: Pair
  let patch: PatchImage
  let started: Started
  let target: Process
  let control: bigint

  beforeAll(() => {
    pair = buildPair({ sources: 'busy', files: ['main.c', 'slow.c', 'unmarked.S'], compiler, flags })
    patch = pair.patch()
  })
  afterAll(() => rmSync(pair.folder, { recursive: true, force: true }))
  beforeEach(async () => {
    started = await startApart(pair.program, [String(THREADS)])
    await until('it printed its address', () => started.output().endsWith('\n'))
    control = BigInt((JSON.parse(started.output()) as { control: string }).control)
    target = (await hostBackend()).open(started.pid)
    await until('the workers run', () => get('running') === BigInt(THREADS))
  })
  afterEach(async () => {
    target.close()
    await started.kill()
  })

  const at = (field: Field) => control + BigInt(8 * FIELDS.indexOf(field))
  function get(field: Field): bigint {
    const bytes = target.read(at(field), 8)
    return new DataView(bytes.buffer).getBigUint64(0, true)
  }
  function set(field: Field, value: bigint): void {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigUint64(0, value, true)
    target.write(at(field), bytes)
  }

  /** `until`, with the workers' pauses broken off. One that is only about to pause is met later. */
  const untilWoken = (what: string, condition: () => boolean) =>
    until(what, () => {
      process.kill(started.pid, 'SIGHUP')
      return condition()
    })

  /** All workers are inside the function, for `ms`. */
  async function stayIn(name: (typeof FUNCTIONS)[number], ms: bigint): Promise<void> {
    set('function', BigInt(FUNCTIONS.indexOf(name)))
    set('in_ms', ms)
    await until(`all are in ${name}`, () => get('inside') === BigInt(THREADS) && get('in_ms') === ms)
    // Those that were still in a short call have left it by now.
    await new Promise((resolve) => setTimeout(resolve, 30))
    await until(`all are in ${name}`, () => get('inside') === BigInt(THREADS))
  }

  async function refusal(run: () => Promise<unknown>): Promise<HotpatchError> {
    const error = await run().then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    if (!(error instanceof HotpatchError)) throw error ?? new Error('it was not refused')
    return error
  }

  /**
   * What is said when so many tries have met each thread in one place that it is taken for one that never leaves: how long they
   * take is not known beforehand.
   */
  async function refusalForGood(): Promise<HotpatchError> {
    const isForGood = ({ facts }: HotpatchError): boolean => {
      const reasons = (facts.reasons ?? []) as { todo?: string }[]
      return reasons.length === THREADS && reasons.every(({ todo }) => todo !== undefined)
    }
    return refusalWithin(1000, (timeoutMs) => applyPatch(target, patch, { timeoutMs }), isForGood)
  }

  /** The refusal in so many milliseconds; where it is not the one that is meant, since tries take long on a busy machine, in more. */
  async function refusalWithin(
    milliseconds: number,
    run: (timeoutMs: number) => Promise<unknown>,
    isMeant: (error: HotpatchError) => boolean,
  ): Promise<HotpatchError> {
    for (let timeoutMs = milliseconds; ; timeoutMs *= 2) {
      const error = await refusal(() => run(timeoutMs))
      if (isMeant(error) || timeoutMs >= 8 * milliseconds) return error
    }
  }

  /** How frames inside the mappings were found; undefined: a thread that waits for a processor did not stop in time. */
  function foundInside(mappings: readonly { start: bigint; end: bigint }[]): string[] | undefined {
    try {
      return framesInside(target, mappings).map(({ innermost }) => innermost.found)
    } catch (error) {
      if (error instanceof HotpatchError && error.code === 'STOP_TIMEOUT') return undefined
      throw error
    }
  }

  test.each(FUNCTIONS)('threads that sleep in %s: refused, each named with function and depth', async (name) => {
    await stayIn(name, LONG)
    const error = await refusalForGood()
    expect([error.code, error.exit]).toEqual(['BUSY', 4])
    const threads = error.facts.threads as { thread: { id: number; name: string }; function: string; depth: number; found: string }[]
    expect(threads.map((t) => t.thread.name).sort()).toEqual(['slow-0', 'slow-1', 'slow-2'])
    expect(new Set(threads.map((t) => t.thread.id)).size).toBe(THREADS)
    for (const blocking of threads) {
      expect(blocking.function).toBe(name)
      expect(blocking.found).toBe(name === 'unmarked' ? 'scanning' : 'unwinding')
      expect(blocking.depth).toBeGreaterThanOrEqual(2)
      expect(error.detail).toContain(`thread ${blocking.thread.id} (${blocking.thread.name})`)
    }
    const reasons = error.facts.reasons as { todo?: string }[]
    expect(reasons.map(({ todo }) => todo ?? error.detail)).toEqual(
      reasons.map(() => expect.stringContaining('patch a function that it calls')),
    )
    expect(statusOf(target).patches).toEqual([])
    expect(target.regions().filter((region) => region.name.includes('hotpatch:'))).toEqual([])
  })

  test('threads that come and go: waited for, and never one in an old function when the new ones are there', async () => {
    await stayIn('slow', 20n)
    set('out_ms', 40n)
    const { stop } = await applyPatch(target, patch, { timeoutMs: 20_000 })
    const old = get('old')
    expect(stop).toMatchObject({ consistency: 'patch', way: 'stop', threads: THREADS + 1 })
    await until('new results', () => get('fixed') > 10n)
    // A worker may have been between its return and its count.
    expect(get('old') - old).toBeLessThanOrEqual(BigInt(THREADS))
    expect(get('bad')).toBe(0n)
  })

  test('without consistency they are patched at once, and finish the old function first', async () => {
    await stayIn('slow', LONG)
    const before = get('fixed')
    const { stop } = await applyPatch(target, patch, { timeoutMs: within(2000), consistency: 'none' })
    expect(stop).toMatchObject({ consistency: 'none', way: 'stop' })
    expect(get('fixed')).toBe(before)
    const old = get('old')
    set('in_ms', 1n)
    await untilWoken('new results', () => get('fixed') > 10n)
    expect(get('old') - old).toBe(BigInt(THREADS))
    expect(get('bad')).toBe(0n)
  })

  test('threads that are hardly ever outside: followed until each has left, and kept there for the others', async () => {
    await stayIn('slow', 400n)
    set('out_ms', 1n)
    const { stop } = await applyPatch(target, patch, { timeoutMs: 30_000, waitForReturn: true })
    const old = get('old')
    expect(stop).toMatchObject({ consistency: 'patch', way: 'stop', threads: THREADS + 1 })
    await untilWoken('new results', () => get('fixed') >= 2n * BigInt(THREADS))
    expect(get('old') - old).toBeLessThanOrEqual(BigInt(THREADS))
    expect(get('bad')).toBe(0n)
    const undone = await rollbackPatch(target, { timeoutMs: 30_000, waitForReturn: true })
    expect(undone.stop).toMatchObject({ way: 'stop' })
    const fixed = get('fixed')
    const before = get('old')
    await untilWoken('old results', () => get('old') >= before + 2n * BigInt(THREADS))
    expect(get('fixed') - fixed).toBeLessThanOrEqual(BigInt(THREADS))
    await until('no thread is traced', () => tracersOf(started.pid).length === 0)
  })

  test('an engine that dies while it follows threads leaves them running', async () => {
    await stayIn('slow', 20n)
    set('out_ms', 0n)
    const file = join(pair.folder, 'patch.so')
    writeFileSync(file, pair.bytes())
    for (let round = 0; round < 5; round++) {
      const engine = spawn(process.execPath, [...FOLLOWER, String(started.pid), file], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      await once(engine.stdout, 'data')
      await until('threads are followed', () => tracersOf(started.pid).length > 0)
      await new Promise((resolve) => setTimeout(resolve, round * 37))
      engine.kill('SIGKILL')
      await once(engine, 'exit')
      await until('no thread is traced', () => tracersOf(started.pid).length === 0)
      const before = get('old')
      await until('all go on', () => get('old') >= before + 2n * BigInt(THREADS))
      expect(get('bad')).toBe(0n)
    }
  })

  test('threads inside the patch: rolling back is refused, then done when they have left', async () => {
    const { mappings } = await applyPatch(target, patch, { timeoutMs: 20_000 })
    const image = mappings
      .filter(({ what }) => what === 'image')
      .map(({ address, size }) => ({ start: BigInt(address), end: BigInt(address) + BigInt(size) }))
    await stayIn('slow', LONG)
    const error = await refusalWithin(
      300,
      (timeoutMs) => rollbackPatch(target, { timeoutMs }),
      ({ code }) => code === 'BUSY',
    )
    expect([error.code, error.facts.function]).toEqual(['BUSY', 'slow'])
    expect(statusOf(target).patches).toMatchObject([{ state: 'applied' }])
    const { stop } = await rollbackPatch(target, { timeoutMs: within(300), consistency: 'none' })
    expect(stop).toMatchObject({ consistency: 'none' })
    expect(statusOf(target).patches).toMatchObject([{ state: 'reverted' }])
    // They still return into the retired image; when they have, nobody does any more.
    let found = foundInside(image)
    await until('all have stopped', () => {
      found ??= foundInside(image)
      return found !== undefined
    })
    expect(found).toEqual(['unwinding', 'unwinding', 'unwinding'])
    set('in_ms', 1n)
    await untilWoken('all have left', () => foundInside(image)?.length === 0)
  })
})
