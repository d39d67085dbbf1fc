/** Processes that are awkward: each is handled, or refused with one clear error, and goes on unharmed. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { copyFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { framesInside } from '../../src/engine/stacks/frames-inside.ts'
import { HotpatchError } from '../../src/errors.ts'
import { sleepMicroseconds } from '../../src/os/linux/libc.ts'
import type { MapRequest, Process } from '../../src/process/contract.ts'
import { borrowThread } from '../../src/process/linux/borrow.ts'
import { CodeSearch } from '../../src/process/linux/gadgets.ts'
import { linuxBackend } from '../../src/process/linux/index.ts'
import { Memory } from '../../src/process/linux/memory.ts'
import { inProcessFolder, type Mapping, parseMaps, parseStat, readProc } from '../../src/process/linux/proc.ts'
import { VALUE_NEW, VALUE_OLD } from '../../src/process/testing/target.ts'
import { rounds, script, within } from '../brought.ts'
import { compile, endTargets, isAlive, type Started, startApart, tracerPid, until, untilFree } from './targets.ts'

afterAll(endTargets)

interface Edge {
  readonly started: Started
  readonly process: Process
  readonly symbols: Readonly<Record<'counters' | 'word' | 'value', bigint>>
}

async function start(mode: string, program = compile('edges.c', 'edges')): Promise<Edge> {
  const started = await startApart(program, [mode])
  await until('it printed its addresses', () => started.output().endsWith('\n'))
  const printed = Object.entries(JSON.parse(started.output()) as Record<string, string>)
  const symbols = Object.fromEntries(printed.map(([name, text]) => [name, BigInt(text)])) as Edge['symbols']
  return { started, process: linuxBackend.open(started.pid), symbols }
}

async function finish({ started, process }: Edge): Promise<void> {
  process.close()
  await started.kill()
}

const readU64 = (process: Process, address: bigint): bigint => new DataView(process.read(address, 8).buffer).getBigUint64(0, true)

async function goesOn({ started, process, symbols }: Edge): Promise<void> {
  const before = readU64(process, symbols.counters)
  await until('it goes on', () => readU64(process, symbols.counters) > before + 3n)
  expect(readU64(process, symbols.counters + 8n)).toBe(0n)
  await untilFree(started.pid)
}

function request(process: Process): MapRequest {
  const main = process.modules()[0]
  if (main === undefined) throw new Error('no main program')
  const address = process.findPlace({ size: 0x2000, near: main.base, low: main.base - 0x7000_0000n, high: main.base + 0x7000_0000n })
  if (address === undefined) throw new Error('no place')
  return {
    address,
    name: 'hotpatch:edge',
    segments: [
      { offset: 0, size: 0x1000, protection: 'rx', content: Uint8Array.of(0xc3) },
      { offset: 0x1000, size: 0x1000, protection: 'rw', content: Uint8Array.of(1) },
    ],
  }
}

function mapAndUnmap(process: Process): void {
  const wanted = request(process)
  process.map(wanted)
  expect(process.read(wanted.address, 1)[0]).toBe(0xc3)
  process.unmap(wanted.address, 0x2000)
}

const switchTo = (edge: Edge, bytes: Uint8Array) =>
  edge.process.switchCode({ writes: [{ address: edge.symbols.value, bytes }], inspect: () => undefined, stopTimeout: 5000 })

function errorOf(action: () => unknown): HotpatchError {
  try {
    action()
  } catch (error) {
    if (error instanceof HotpatchError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

const stateOf = (pid: number): string | undefined => parseStat(readProc(`/proc/${pid}/stat`) ?? '')?.state

describe('awkward processes', () => {
  test('stopped by job control: is switched and mapped into, and stays stopped', async () => {
    const edge = await start('')
    const { pid } = edge.started
    process.kill(pid, 'SIGSTOP')
    await until('it is stopped', () => stateOf(pid) === 'T')
    expect(switchTo(edge, VALUE_NEW).switched).toBe(true)
    mapAndUnmap(edge.process)
    await until('it is stopped again', () => stateOf(pid) === 'T')
    const before = readU64(edge.process, edge.symbols.counters)
    await sleep(30)
    expect(stateOf(pid)).toBe('T')
    expect(readU64(edge.process, edge.symbols.counters)).toBe(before)
    process.kill(pid, 'SIGCONT')
    await goesOn(edge)
    await finish(edge)
  })

  test('a main thread that has ended while others run', async () => {
    const edge = await start('leaderless')
    await until('the main thread has ended', () => stateOf(edge.started.pid) === 'Z')
    const process = linuxBackend.open(edge.started.pid)
    const outcome = process.switchCode({ writes: [], inspect: () => undefined, stopTimeout: 2000 })
    expect(outcome.threads).toBe(1)
    mapAndUnmap(process)
    process.close()
    await goesOn(edge)
    await finish(edge)
  })

  test('a main thread that ends while the process is looked at: another one is looked at', async () => {
    const edge = await start('leaves')
    const { pid } = edge.started
    const folders: string[] = []
    const maps = inProcessFolder(pid, (folder) => {
      folders.push(folder)
      edge.process.write(edge.symbols.word, Uint8Array.of(1))
      for (const end = performance.now() + within(5000); stateOf(pid) !== 'Z' && performance.now() < end; ) sleepMicroseconds(1000)
      return readProc(`${folder}/maps`)
    })
    expect(folders).toEqual([`/proc/${pid}`, expect.stringMatching(`^/proc/${pid}/task/`)])
    expect(maps).not.toBe('')
    expect(edge.process.modules().length).toBeGreaterThan(0)
    await goesOn(edge)
    await finish(edge)
  })

  test('a thread whose stack cannot be read: it may be inside of anything', async () => {
    const edge = await start('stackless')
    const { process, started, symbols } = edge
    const places = [{ start: symbols.value, end: symbols.value + 8n }]
    const other = (): number => process.threads().find(({ id }) => id !== started.pid)?.id ?? 0
    const state = () => parseStat(readProc(`/proc/${started.pid}/task/${other()}/stat`) ?? '')?.state
    await until('it waits on its other stack', () => readU64(process, symbols.counters) > 0n && state() === 'S')
    expect(framesInside(process, places)).toEqual([])
    process.write(symbols.word, Uint8Array.of(1))
    await until('its stack is gone', () => framesInside(process, places).length > 0)
    expect(framesInside(process, places)).toMatchObject([
      { threadId: other(), innermost: { function: -1, depth: 0, found: 'unreadable' }, standsInBytes: false },
    ])
    await goesOn(edge)
    await finish(edge)
  })

  test('a main thread that ends just before the stop: the stacks of the others are read', async () => {
    const edge = await start('leaves')
    const { process, started, symbols } = edge
    let rehearsed = false
    let read: number[] = []
    const { threads } = process.switchCode({
      writes: [],
      stopTimeout: 2000,
      stacks: { bytes: 1024, regions: process.regions() },
      rehearse() {
        if (rehearsed) return
        rehearsed = true
        process.write(symbols.word, Uint8Array.of(1))
        for (const end = performance.now() + within(5000); stateOf(started.pid) !== 'Z' && performance.now() < end; )
          sleepMicroseconds(1000)
      },
      inspect(stopped) {
        const into = new Uint8Array(64)
        read = [stopped.stack(0).length, stopped.read(Number(stopped.stackPointer(0)), into)]
        return undefined
      },
    })
    expect([rehearsed, threads, read]).toEqual([true, 1, [expect.any(Number), 64]])
    expect(read[0]).toBeGreaterThan(0)
    // The kernel lets nobody detach from a main thread that has ended before the others: it stays traced until this process ends.
    const before = readU64(process, symbols.counters)
    await until('it goes on', () => readU64(process, symbols.counters) > before + 3n)
    await finish(edge)
  })

  test('threads that come and go all the time: none is missed, none is lost', async () => {
    const edge = await start('storm')
    for (let round = 0; round < rounds(100); round++) expect(switchTo(edge, round % 2 === 0 ? VALUE_NEW : VALUE_OLD).switched).toBe(true)
    for (let round = 0; round < 10; round++) mapAndUnmap(edge.process)
    await goesOn(edge)
    await finish(edge)
  })

  test('a process that becomes another program is gone', async () => {
    const edge = await start('exec')
    edge.process.write(edge.symbols.word, Uint8Array.of(1))
    await until('it is another program', () => (readProc(`/proc/${edge.started.pid}/comm`) ?? '').startsWith('sleep'))
    expect(errorOf(() => edge.process.read(edge.symbols.word, 8)).code).toBe('PROCESS_GONE')
    expect(errorOf(() => switchTo(edge, VALUE_NEW)).code).toBe('PROCESS_GONE')
    expect(isAlive(edge.started.pid)).toBe(true)
    await finish(edge)
  })

  test('a process that ends while a thread of it is looked for is gone at once, though nobody waits for it', async () => {
    const script = '"$0" sleep >/dev/null & echo $!; exec sleep 100'
    const parent = spawn('sh', ['-c', script, compile('edges.c', 'edges')], { stdio: ['ignore', 'pipe', 'ignore'] })
    try {
      const pid = Number((await parent.stdout.iterator({ destroyOnReturn: false }).next()).value.toString())
      const maps = (): Mapping[] => {
        const text = readProc(`/proc/${pid}/maps`)
        if (text === undefined || text === '') throw new HotpatchError('PROCESS_GONE', 'it maps nothing any more')
        return parseMaps(text)
      }
      await until('it is the program', () => maps().some(({ name }) => name.endsWith('/edges')))
      const memory = new Memory(pid)
      const before = maps()
      // It ends when all of this has been looked at already.
      const gadgets = new CodeSearch(memory).gadgets(before, false)
      process.kill(pid, 'SIGKILL')
      await until('it is a zombie', () => !isAlive(pid))
      const target = { pid, memory, code: { gadgets: () => gadgets } as unknown as CodeSearch, maps }
      expect(() => borrowThread(target, before, performance.now() + 60_000)).toThrow(/PROCESS_GONE/)
      memory.close()
    } finally {
      parent.kill('SIGKILL')
    }
  })

  test('a program whose file was deleted', async () => {
    const program = join(dirname(compile('edges.c', 'edges')), 'deleted-edges')
    copyFileSync(compile('edges.c', 'edges'), program)
    const edge = await start('', program)
    expect(edge.process.modules()[0]).toMatchObject({ name: 'deleted-edges', deleted: false })
    rmSync(program)
    expect(edge.process.modules()[0]).toMatchObject({ name: 'deleted-edges', path: program, deleted: true })
    expect(switchTo(edge, VALUE_NEW).switched).toBe(true)
    mapAndUnmap(edge.process)
    await goesOn(edge)
    await finish(edge)
  })

  test('a process in other namespaces of pids and mounts, whose file is not to be seen from here', async (context) => {
    const unshare = ['unshare', '--mount', '--pid', '--fork', '--kill-child']
    if (spawnSync(unshare[0] as string, [...unshare.slice(1), 'true']).status !== 0) return context.skip('unshare is not allowed here')
    const program = compile('edges.c', 'edges')
    // The program is copied to a file system that exists in there only.
    const inThere = 'mount -t tmpfs none /mnt && cp "$0" /mnt/inside && exec /mnt/inside ""'
    const started = await startApart('sh', ['-c', inThere, program], unshare.join(' '))
    await until('it printed its addresses', () => started.output().endsWith('\n'))
    const inside = Number(execFileSync('pgrep', ['-P', String(started.pid)], { encoding: 'utf8' }).trim())
    const printed = JSON.parse(started.output()) as Record<string, string>
    const target = linuxBackend.open(inside)
    expect(target.modules()[0]).toMatchObject({ name: 'inside', path: '/mnt/inside' })
    const write = { address: BigInt(printed.value as string), bytes: VALUE_NEW }
    expect(target.switchCode({ writes: [write], inspect: () => undefined, stopTimeout: 5000 }).switched).toBe(true)
    mapAndUnmap(target)
    target.close()
    process.kill(inside, 'SIGKILL')
    await started.kill()
  })
})

describe('refusals', () => {
  test('a process that is traced: names the tracer', async () => {
    const edge = await start('')
    const tracer = script('tracer', import.meta.url)
    const child = spawn(process.execPath, [...tracer, String(edge.started.pid)], { stdio: 'ignore' })
    await until('it is traced', () => tracerPid(edge.started.pid) === child.pid)
    for (const action of [() => linuxBackend.open(edge.started.pid), () => switchTo(edge, VALUE_NEW), () => mapAndUnmap(edge.process)]) {
      const error = errorOf(action)
      expect([error.code, error.facts.tracer]).toEqual(['PROCESS_TRACED', child.pid])
      expect(error.detail).toContain(`process ${child.pid}`)
    }
    child.kill('SIGKILL')
    await untilFree(edge.started.pid)
    expect(switchTo(edge, VALUE_NEW).switched).toBe(true)
    await goesOn(edge)
    await finish(edge)
  })

  test('hotpatch itself, a thread of the kernel, a thread that is no process', async () => {
    expect(errorOf(() => linuxBackend.open(process.pid)).detail).toContain('hotpatch itself')
    const edge = await start('storm')
    const other = edge.process.threads().find((thread) => thread.id !== edge.started.pid)
    const error = errorOf(() => linuxBackend.open(other?.id ?? 0))
    expect(error.code).toMatch(/PROCESS_UNSUPPORTED|PROCESS_GONE/)
    await finish(edge)
    const kernelThread = linuxBackend.list().find(({ pid }) => parseStat(readProc(`/proc/${pid}/stat`) ?? '')?.name === 'kthreadd')
    if (kernelThread !== undefined) {
      const refused = errorOf(() => linuxBackend.open(kernelThread.pid))
      expect([refused.code, refused.detail.includes('kernel')]).toEqual(['PROCESS_UNSUPPORTED', true])
    }
  })

  test('another user without the capability', async (context) => {
    const openAs = script('open-as', import.meta.url)
    if (process.getuid?.() !== 0) return context.skip('only root can become another user')
    const edge = await start('')
    const { stdout, stderr } = spawnSync(process.execPath, [...openAs, '65534', String(edge.started.pid)], {
      encoding: 'utf8',
    })
    expect(JSON.parse(stdout || `"${stderr}"`)).toMatchObject({ code: 'PERMISSION_DENIED', exit: 5, facts: { right: 'other user' } })
    await finish(edge)
  })

  test.each([
    ['seccomp-errno', 'ERRNO'],
    ['seccomp-kill', 'KILL_PROCESS'],
  ])('%s: mapping is refused before anything is called, and the process lives', async (mode, action) => {
    const edge = await start(mode)
    const error = errorOf(() => mapAndUnmap(edge.process))
    expect([error.code, error.facts.call, error.facts.action]).toEqual(['MAPPING_REFUSED', 'memfd_create', action])
    expect(switchTo(edge, VALUE_NEW).switched).toBe(true)
    await goesOn(edge)
    await finish(edge)
  })

  test('seccomp-load: what loads modules is not called, anything else is', async () => {
    const edge = await start('seccomp-load')
    const call = (loadsModules: boolean) => edge.process.call(edge.symbols.value, [], { deadlineMs: within(5000), loadsModules })
    const error = errorOf(() => call(true))
    expect([error.code, error.facts.call, error.facts.action]).toEqual(['MAPPING_REFUSED', 'openat', 'KILL_PROCESS'])
    await goesOn(edge)
    expect(call(false) & 0xffff_ffffn).toBe(1n)
    await goesOn(edge)
    await finish(edge)
  })

  test.each(['seccomp-allow', 'no-write-execute'])('%s: what loads modules is called', async (mode) => {
    const edge = await start(mode)
    expect(edge.process.call(edge.symbols.value, [], { deadlineMs: within(5000), loadsModules: true }) & 0xffff_ffffn).toBe(1n)
    await goesOn(edge)
    await finish(edge)
  })

  test.each(['seccomp-allow', 'no-write-execute'])('%s: mapping goes through the filter', async (mode) => {
    const edge = await start(mode)
    mapAndUnmap(edge.process)
    await goesOn(edge)
    await finish(edge)
  })
})

describe('single stores', () => {
  test('a thread that watches an aligned word never sees half of a write', async () => {
    const edge = await start('atomic')
    const [ones, twos] = [new Uint8Array(8).fill(0x11), new Uint8Array(8).fill(0x22)]
    for (let round = 0; round < rounds(30_000); round++) edge.process.write(edge.symbols.word, round % 2 === 0 ? ones : twos)
    await goesOn(edge)
    await finish(edge)
  })
})
