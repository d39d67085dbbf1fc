/** Processes that are awkward, patched for real: the right result or one clear error, and the process goes on unharmed. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { copyFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { applyPatch, rollbackPatch, statusOf, verifyProcess } from '../../src/engine/index.ts'
import { HotpatchError } from '../../src/errors.ts'
import type { PatchImage } from '../../src/patch/image.ts'
import type { Process } from '../../src/process/contract.ts'
import { linuxBackend } from '../../src/process/linux/index.ts'
import { parseStatus, readProc } from '../../src/process/linux/proc.ts'
import { PATIENT, rounds, script } from '../brought.ts'
import { endTargets, isAlive, type Started, startApart, until, untilFree } from '../process/targets.ts'
import { flavourHere } from './flavours.ts'
import { buildPair, type Pair } from './pair.ts'
import { sleep } from './target.ts'

afterAll(endTargets)

const FIELDS = ['old', 'fixed', 'bad', 'made', 'child'] as const
const ORDER = { fork: 1n, setuid: 2n } as const
const KILLED_ENGINE = script('killed-engine', import.meta.url)

describe.skipIf(process.platform !== 'linux')('awkward processes', () => {
  let pair: Pair
  let image: PatchImage
  const toEnd: (() => Promise<void> | void)[] = []

  beforeAll(() => {
    pair = buildPair({ sources: 'awkward', files: ['main.c', 'work.c'], ...flavourHere('plain') })
    image = pair.patch()
    writeFileSync(join(pair.folder, 'patch.so'), pair.bytes())
  })
  afterEach(async () => {
    for (const end of toEnd.splice(0).reverse()) await end()
  })
  afterAll(() => rmSync(pair.folder, { recursive: true, force: true }))

  interface Live {
    readonly started: Started
    readonly target: Process
    get(field: (typeof FIELDS)[number], from?: Process): number
    give(order: bigint): void
  }

  function open(pid: number): Process {
    const target = linuxBackend.open(pid)
    toEnd.push(() => target.close())
    return target
  }

  async function start(args: readonly string[], program = pair.program, prefix = ''): Promise<Live> {
    const started = await startApart(program, args, prefix)
    toEnd.push(() => started.kill())
    await until('it printed its addresses', () => started.output().endsWith('\n'))
    if (started.output() === 'none\n') throw new Error('not here')
    const { counters, order } = JSON.parse(started.output()) as Record<'counters' | 'order', string>
    const target = open(started.pid)
    const word = (value: bigint) => {
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigUint64(0, value, true)
      return bytes
    }
    return {
      started,
      target,
      get: (field, from = target) =>
        Number(new DataView(from.read(BigInt(counters) + BigInt(8 * FIELDS.indexOf(field)), 8).buffer).getBigUint64(0, true)),
      give: (value) => target.write(BigInt(order), word(value)),
    }
  }

  async function answers({ get, target }: Live, which: 'old' | 'fixed', from: Process = target): Promise<void> {
    const [before, other] = [get(which, from), which === 'old' ? 'fixed' : 'old'] as const
    await until(`it gives ${which} answers`, () => get(which, from) > before + 3)
    const others = get(other, from)
    await until(`it gives ${which} answers still`, () => get(which, from) > before + 6)
    expect(get(other, from)).toBe(others)
    expect(get('bad', from)).toBe(0)
  }

  async function appliesAndRollsBack(live: Live): Promise<void> {
    expect((await applyPatch(live.target, image, PATIENT)).outcome).toBe('applied')
    await answers(live, 'fixed')
    expect(verifyProcess(live.target).outcome).toBe('verified')
    expect((await rollbackPatch(live.target, PATIENT)).outcome).toBe('rolled-back')
    await answers(live, 'old')
    await untilFree(live.started.pid)
  }

  async function codeOf(run: Promise<unknown>): Promise<string> {
    try {
      await run
      return 'done'
    } catch (error) {
      if (error instanceof HotpatchError) return error.code
      throw error
    }
  }

  test('a storm of threads that come and go', async () => {
    const live = await start(['storm'])
    for (let round = 0; round < rounds(10); round++) {
      await applyPatch(live.target, image, PATIENT)
      await rollbackPatch(live.target, PATIENT)
    }
    const made = live.get('made')
    await until('threads still come', () => live.get('made') > made + 100)
    expect(live.get('fixed')).toBeGreaterThan(0)
    expect(live.get('bad')).toBe(0)
  })

  test('children that are born at any moment of apply and rollback', async () => {
    const live = await start(['forks'])
    for (let round = 0; round < rounds(10); round++) {
      await applyPatch(live.target, image, PATIENT)
      await rollbackPatch(live.target, PATIENT)
    }
    const made = live.get('made')
    await until('children are still born', () => live.get('made') > made + 20)
    expect(live.get('bad')).toBe(0)
  })

  async function child(live: Live): Promise<Process> {
    live.give(ORDER.fork)
    await until('it has a child', () => live.get('child') !== 0)
    const pid = live.get('child')
    toEnd.push(() => void process.kill(pid, 'SIGKILL'))
    return open(pid)
  }

  test('a child of a patched process carries the ledger, and is its own', async () => {
    const live = await start([''])
    await applyPatch(live.target, image, PATIENT)
    const forked = await child(live)
    expect(statusOf(forked).patches).toMatchObject([{ id: 'pair-1', state: 'applied', recovery: 'none' }])
    expect(verifyProcess(forked).outcome).toBe('verified')
    await answers(live, 'fixed', forked)
    await rollbackPatch(forked, PATIENT)
    await answers(live, 'old', forked)
    await answers(live, 'fixed')
    expect(verifyProcess(live.target).outcome).toBe('verified')
  })

  test.each(['2', '4', '6', 'switch'])('a child that inherits what an engine left that died at step %s', async (step) => {
    const live = await start([''])
    const engine = [...KILLED_ENGINE, String(live.started.pid), join(pair.folder, 'patch.so'), 'apply', step]
    expect(spawnSync(process.execPath, engine, { timeout: 60_000 }).signal).toBe('SIGKILL')
    const forked = await child(live)
    expect(statusOf(forked).patches).toEqual(statusOf(live.target).patches)
    for (const one of [forked, live.target]) {
      await applyPatch(one, image, PATIENT)
      expect(verifyProcess(one).outcome).toBe('verified')
      await answers(live, 'fixed', one)
      await rollbackPatch(one, PATIENT)
      await answers(live, 'old', one)
    }
  })

  test('a process that becomes another one again and again: each time gone, or patched', async () => {
    const { pid } = await startApart(pair.program, ['reexec', '40'])
    toEnd.push(() => void process.kill(pid, 'SIGKILL'))
    const codes = new Set<string>()
    for (let round = 0; round < rounds(25); round++) {
      let target: Process | undefined
      try {
        target = linuxBackend.open(pid)
        const opened = target
        codes.add(await codeOf(applyPatch(opened, image, { timeoutMs: 500 })))
      } catch (error) {
        if (!(error instanceof HotpatchError)) throw error
        codes.add(error.code)
      } finally {
        target?.close()
      }
    }
    expect(
      [...codes].filter((code) => !['done', 'PROCESS_GONE', 'BASE_NOT_MAPPED', 'PROCESS_UNSUPPORTED', 'NO_SAFE_THREAD'].includes(code)),
    ).toEqual([])
    expect(isAlive(pid)).toBe(true)
    await untilFree(pid)
  })

  test('a process that becomes another user', async () => {
    const live = await start([''])
    await applyPatch(live.target, image, PATIENT)
    live.give(ORDER.setuid)
    await answers(live, 'fixed')
    await until('it is another user', () =>
      /^65534\b/.test(parseStatus(readProc(`/proc/${live.started.pid}/status`) ?? '').get('Uid') ?? ''),
    )
    expect(statusOf(open(live.started.pid)).patches).toMatchObject([{ state: 'applied' }])
    await rollbackPatch(live.target, PATIENT)
    await appliesAndRollsBack(live)
  })

  test('a process that is killed in the middle: PROCESS_GONE', async () => {
    const codes: string[] = []
    for (let round = 0; round < rounds(12); round++) {
      const live = await start(['storm'])
      const killer = spawn('sh', ['-c', `sleep 0.0${round}; kill -9 ${live.started.pid}`])
      for (let tries = 0; tries < 200; tries++) {
        const code = await codeOf(tries % 2 === 0 ? applyPatch(live.target, image, PATIENT) : rollbackPatch(live.target, PATIENT))
        if (code === 'done') continue
        codes.push(code)
        break
      }
      killer.kill()
    }
    expect(codes).toEqual(codes.map(() => 'PROCESS_GONE'))
    expect(codes.length).toBe(rounds(12))
  })

  test('a process that has ended and that nobody has waited for', async () => {
    const parent = spawn('sh', ['-c', 'true & echo $!; exec sleep 100'], { stdio: ['ignore', 'pipe', 'ignore'] })
    toEnd.push(() => void parent.kill('SIGKILL'))
    const [line] = (await parent.stdout.iterator({ destroyOnReturn: false }).next()).value.toString().split('\n')
    await until('it is a zombie', () => !isAlive(Number(line)))
    expect(() => linuxBackend.open(Number(line))).toThrow(/PROCESS_UNSUPPORTED|PROCESS_GONE/)
  })

  test('a file that was deleted, and one that was replaced by another', async () => {
    const [program, other] = [join(pair.folder, 'installed'), join(pair.folder, 'other')]
    copyFileSync(pair.program, program)
    const live = await start([''], program)
    copyFileSync('/bin/true', other)
    renameSync(other, program)
    await appliesAndRollsBack(live)
    rmSync(program)
    await appliesAndRollsBack(live)
  })

  test('a container: other namespaces of pids and mounts, the file not to be seen from here', async (context) => {
    const unshare = ['unshare', '--mount', '--pid', '--fork', '--kill-child']
    if (spawnSync(unshare[0] as string, [...unshare.slice(1), 'true']).status !== 0) return context.skip('unshare is not allowed here')
    const script = 'mount -t tmpfs none /mnt && cp "$0" /mnt/inside && exec /mnt/inside ""'
    const started = await startApart('sh', ['-c', script, pair.program], unshare.join(' '))
    toEnd.push(() => started.kill())
    await until('it printed its addresses', () => started.output().endsWith('\n'))
    const inside = Number(execFileSync('pgrep', ['-P', String(started.pid)], { encoding: 'utf8' }).trim())
    const target = open(inside)
    expect((await applyPatch(target, image, PATIENT)).outcome).toBe('applied')
    expect(verifyProcess(target).outcome).toBe('verified')
    expect(statusOf(target).patches).toMatchObject([{ base: { path: '/mnt/inside' } }])
    await rollbackPatch(target, PATIENT)
    process.kill(inside, 'SIGKILL')
  })

  test('a service under SystemCallFilter=@system-service and MemoryDenyWriteExecute of systemd', async () => {
    await appliesAndRollsBack(await start(['service']))
  })

  test('a process that the kernel forbids to gain executable memory (PR_SET_MDWE)', async (context) => {
    const live = await start(['mdwe']).catch((error: Error) => error)
    if (live instanceof Error) return context.skip('this kernel has no PR_SET_MDWE')
    await appliesAndRollsBack(live)
  })

  test.each(['no-execute', 'no-memory'])('%s: refused with what forbids it, and nothing has changed', async (mode) => {
    const live = await start([mode])
    const before = live.target.regions().length
    await answers(live, 'old')
    const error = await applyPatch(live.target, image, PATIENT).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(HotpatchError)
    expect([(error as HotpatchError).code, (error as HotpatchError).exit]).toEqual(['MAPPING_REFUSED', 3])
    expect((error as HotpatchError).detail).toMatch(/mmap/)
    expect(statusOf(live.target).patches).toEqual([])
    expect(live.target.regions().length).toBe(before)
    await answers(live, 'old')
    await sleep(1)
  })
})
