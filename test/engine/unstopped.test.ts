/** `--consistency function`: where single stores suffice, no thread is stopped. A thread of the target watches. */
import { rmSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { applyPatch, rollbackPatch, verifyProcess } from '../../src/engine/index.ts'
import type { PatchImage } from '../../src/patch/image.ts'
import type { Process } from '../../src/process/contract.ts'
import { hostBackend } from '../../src/process/host.ts'
import { rounds } from '../brought.ts'
import { endTargets, type Started, startApart, until } from '../process/targets.ts'
import { flavoursHere } from './flavours.ts'
import { buildPair, type Pair } from './pair.ts'

afterAll(endTargets)

/** As in unstopped/main.c. */
const FIELDS = ['running', 'looks', 'traced', 'old', 'fixed', 'bad'] as const
const THREADS = 3
const ROUNDS = rounds(15)

describe.skipIf(process.platform !== 'linux').each(flavoursHere('unstopped'))(
  'each function on its own, $compiler $flags',
  ({ compiler, flags, ...expected }) => {
    const ways = { apply: expected.apply ?? 'stop', rollback: expected.rollback ?? 'stop' }
    let pair: Pair
    let patch: PatchImage
    let started: Started
    let target: Process
    let control: bigint
    let borrowed = 0

    beforeAll(() => {
      pair = buildPair({ sources: 'unstopped', files: ['main.c', 'work.c'], compiler, flags })
      patch = pair.patch()
    })
    afterAll(() => rmSync(pair.folder, { recursive: true, force: true }))
    beforeEach(async () => {
      started = await startApart(pair.program, [String(THREADS)])
      await until('it printed its address', () => started.output().endsWith('\n'))
      control = BigInt((JSON.parse(started.output()) as { control: string }).control)
      target = (await hostBackend()).open(started.pid)
      await until('the workers run', () => get('running') === THREADS)
    })
    afterEach(async () => {
      target.close()
      await started.kill()
    })

    function get(field: (typeof FIELDS)[number]): number {
      const bytes = target.read(control + BigInt(8 * FIELDS.indexOf(field)), 8)
      return Number(new DataView(bytes.buffer).getBigUint64(0, true))
    }

    /** As `until`; a failure says what is counted. */
    async function untilCounted(what: string, condition: () => boolean): Promise<void> {
      await until(what, condition).catch((cause) => {
        const counted = FIELDS.map((field) => `${field} ${get(field)}`).join(', ')
        throw new Error(`${what}: ${counted}; memory is ${verifyProcess(target).outcome}`, { cause })
      })
    }

    /** The watcher would see it. */
    function followWorkers(): void {
      const threads = target.threads().map(({ id }) => id)
      const catchFirst = { threads: threads.slice(1, 1 + THREADS), within: 100, hold: 100, isOut: () => false }
      const stacks = { bytes: 64, regions: target.regions() }
      target.switchCode({ writes: [], inspect: () => undefined, stopTimeout: 5000, stacks, catchFirst })
    }

    /**
     * The process, with what is seen while system calls are made in it left out of account: a worker may have to make them when the main
     * thread does not come to do it in time.
     */
    function withoutBorrowing(): Process {
      return new Proxy(target, {
        get(_, key) {
          const value = Reflect.get(target, key, target)
          if (key !== 'map' && key !== 'unmap' && key !== 'registerUnwind') return typeof value === 'function' ? value.bind(target) : value
          return (...args: unknown[]) => {
            const before = get('traced')
            try {
              return Reflect.apply(value as (...all: unknown[]) => unknown, target, args)
            } finally {
              const looks = get('looks')
              while (get('looks') < looks + 2);
              borrowed += get('traced') - before
            }
          }
        },
      })
    }

    test('no worker is stopped where the report says so, and every call is right', async () => {
      followWorkers()
      const looked = get('looks')
      await until('the watcher has counted', () => get('looks') > looked + 2)
      expect(get('traced')).toBeGreaterThan(0)
      const unseen = async (way: string, work: () => Promise<unknown>): Promise<void> => {
        const before = get('traced') - borrowed
        await work()
        if (way === 'stores') expect(get('traced') - borrowed).toBe(before)
      }
      for (let round = 0; round < ROUNDS; round++) {
        await unseen(ways.apply, async () => {
          const { stop } = await applyPatch(withoutBorrowing(), patch, { consistency: 'function' })
          expect(stop).toMatchObject({ consistency: 'function', way: ways.apply, threads: ways.apply === 'stores' ? 0 : THREADS + 2 })
          const [fixed, looks] = [get('fixed'), get('looks')]
          await untilCounted('new results', () => get('fixed') > fixed && get('looks') > looks + 1)
        })
        expect(verifyProcess(target).outcome).toBe('verified')
        await unseen(ways.rollback, async () => {
          const { stop } = await rollbackPatch(target, { consistency: 'function' })
          expect(stop).toMatchObject({ consistency: 'function', way: ways.rollback })
          const [old, looks] = [get('old'), get('looks')]
          await untilCounted('old results', () => get('old') > old && get('looks') > looks + 1)
        })
      }
      expect(get('bad')).toBe(0)
    })
  },
)
