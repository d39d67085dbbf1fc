import { describe, expect, test } from 'vitest'
import { readElf } from '../../binary/elf/reader.ts'
import { HotpatchError } from '../../errors.ts'
import { EngineKilled, type FakeTarget, fakeBackend, killEngineAt } from '../../process/fake/index.ts'
import type { ApplyReport } from '../apply.ts'
import { applyPatch, checkPatch, rollbackPatch, statusOf, verifyProcess } from '../index.ts'
import { library } from '../testing/library.ts'
import { baseModule, newPatch, newTarget, ownRegions, PATCH_RVA, snapshot } from '../testing/world.ts'

const LIBC = 0x7f10_0000_0000n
const FUNCTIONS = { memfd_create: 0x1100, pwrite: 0x1110, close: 0x1120, dlopen: 0x1130, dlsym: 0x1140, dlclose: 0x1150 }
const libc = library({ base: LIBC, soname: 'libc.so.6', functions: FUNCTIONS })
const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)

interface LoaderModel {
  /** Bytes of static room that are left. */
  room: number
  /** Sonames, with their distances. */
  readonly loaded: Map<string, number>
  /** Every module that was loaded, in order. */
  readonly loads: string[]
  readonly openFiles: Map<number, Uint8Array>
}

/** What a C library does with a module of thread-local data. */
function withLoader(target: FakeTarget, room = 512): LoaderModel {
  const model: LoaderModel = { room, loaded: new Map(), loads: [], openFiles: new Map() }
  const handles: string[] = []
  const text = (bytes: unknown): string =>
    Buffer.from(bytes as Uint8Array)
      .toString()
      .replace('\0', '')
  const load = (file: Uint8Array): bigint => {
    const elf = readElf(file)
    const soname = elf.dynamic()?.soname ?? ''
    const size = elf.segments.find(({ type }) => type === 7)?.memsz ?? 0
    if (size > model.room) return 0n
    model.room -= size
    const used = [...model.loaded.values()]
    if (!model.loads.includes(soname))
      target.addModule(library({ base: 0x7d00_0000_0000n + 0x10_0000n * BigInt(model.loads.length), soname, functions: {} }))
    model.loaded.set(soname, Math.min(-0x40, ...used) - size)
    model.loads.push(soname)
    return BigInt(handles.push(soname))
  }
  const calls: Record<keyof typeof FUNCTIONS, (...args: unknown[]) => bigint> = {
    memfd_create: () => {
      const file = 5 + model.openFiles.size
      model.openFiles.set(file, new Uint8Array())
      return BigInt(file)
    },
    pwrite: (file, bytes, size, at) => {
      const old = model.openFiles.get(Number(file)) ?? new Uint8Array()
      const whole = new Uint8Array(Math.max(old.length, Number(at) + Number(size)))
      whole.set(old)
      whole.set(bytes as Uint8Array, Number(at))
      model.openFiles.set(Number(file), whole)
      return size as bigint
    },
    close: (file) => (model.openFiles.delete(Number(file)) ? 0n : -1n),
    dlopen: (name, flags) => {
      const path = text(name)
      if ((flags as bigint) & 4n) return model.loaded.has(path) ? BigInt(handles.push(path)) : 0n
      expect(path).toMatch(/^\/proc\/self\/fd[/.]+\d+$/)
      return load(model.openFiles.get(Number(/\d+$/.exec(path)?.[0])) ?? new Uint8Array())
    },
    dlsym: (handle) => {
      const slot = 0x7e00_0000_0000n + 0x1000n * (handle as bigint)
      const value = new Uint8Array(0x1000)
      new DataView(value.buffer).setBigInt64(0, BigInt(model.loaded.get(handles[Number(handle) - 1] as string) ?? 0), true)
      target.addMapping(slot, 0x1000, 'r', value, '')
      return slot
    },
    dlclose: (handle) => {
      model.loaded.delete(handles[Number(handle) - 1] as string)
      return 0n
    },
  }
  target.onCall = (address, args) => {
    const [name] = Object.entries(FUNCTIONS).find(([, rva]) => LIBC + BigInt(rva) === address) ?? []
    if (name === undefined) throw new Error(`a call of ${address.toString(16)}`)
    return calls[name as keyof typeof FUNCTIONS](...args)
  }
  return model
}

const targetWith = () => newTarget(7, [baseModule(), libc])

/** The pointers with the distances, as they are in the process. */
function distances(target: FakeTarget, report: ApplyReport, count: number): number[] {
  const image = BigInt(report.mappings.find(({ what }) => what === 'image')?.address ?? 0)
  const bytes = Buffer.from(target.peek(image + BigInt(PATCH_RVA.imports), 8 * count) ?? [])
  return Array.from({ length: count }, (_, i) => Number(bytes.readBigInt64LE(8 * i)))
}

const first = newPatch({ threadLocals: { calls: 0, limit: 5 } })

describe('thread-local variables that a patch brings', () => {
  test('lie in a module that the process loads; no descriptor is left', async () => {
    const target = targetWith()
    const model = withLoader(target)
    expect(checkPatch(open(target), first).outcome).toBe('would-apply')
    const report = await applyPatch(open(target), first)
    expect(distances(target, report, 2)).toEqual([-0x50, -0x48])
    expect([model.loads.length, model.openFiles.size]).toEqual([1, 0])
    expect(verifyProcess(open(target)).outcome).toBe('verified')
  })

  test('that the patch before brought, too, stay where they are, and room is made for the others', async () => {
    const target = targetWith()
    const model = withLoader(target)
    await applyPatch(open(target), first)
    const second = newPatch({ id: 'server-2', sequence: 2, content: 2, threadLocals: { limit: 5, calls: 0, more: 7 } })
    const report = await applyPatch(open(target), second)
    expect(distances(target, report, 3)).toEqual([-0x48, -0x50, -0x58])
    expect(report.superseded?.kept).toEqual(['limit', 'calls'])
    const third = newPatch({ id: 'server-3', sequence: 3, content: 3, threadLocals: { calls: 0, more: 7 } })
    expect(distances(target, await applyPatch(open(target), third), 2)).toEqual([-0x50, -0x58])
    expect(model.loads.length).toBe(2)
  })

  test.each([
    ['the image of the old one has gone: in the same room', { code: false, data: false, constants: false }, 1],
    ['it is still mapped: code of it may yet run', undefined, 6],
  ])('begin anew when the patch comes again, and %s', async (_title, escapes, modules) => {
    const target = targetWith()
    const model = withLoader(target)
    const patch = newPatch({ threadLocals: { calls: 0 }, ...(escapes && { escapes }) })
    for (let round = 0; round < 6; round++) {
      await applyPatch(open(target), patch)
      await rollbackPatch(open(target))
    }
    expect(model.loads.length).toBe(6)
    expect([new Set(model.loads).size, model.loaded.size]).toEqual([modules, modules])
  })

  test.each([
    ['a static program', newTarget(7), undefined, /no memfd_create, pwrite/],
    ['no room', targetWith(), 8, /its loader does not load a module with 16 bytes/],
  ])('%s: refused, and nothing is changed', async (_title, target, room, expected) => {
    if (room !== undefined) withLoader(target, room)
    const before = snapshot(target)
    const error = await applyPatch(open(target), first).catch((e: unknown) => e)
    if (!(error instanceof HotpatchError)) throw error
    expect(`${error.code} ${error.detail}`).toMatch(expected)
    expect(error.code).toBe('NO_THREAD_LOCAL')
    expect([snapshot(target), ownRegions(target)]).toEqual([before, []])
    const checked = checkPatch(open(target), first).blockers.map(({ code }) => code)
    expect(checked).toEqual(room === undefined ? ['NO_THREAD_LOCAL'] : [])
  })
})

test('where loading and what comes after it both fail, the first failure is told', async () => {
  const target = targetWith()
  withLoader(target)
  const { onCall } = target
  const failing = new Map([
    [LIBC + BigInt(FUNCTIONS.dlopen), 'CALL_TIMEOUT'],
    [LIBC + BigInt(FUNCTIONS.close), 'NO_SAFE_THREAD'],
  ] as const)
  target.onCall = (address, ...rest) => {
    const code = failing.get(address)
    if (code !== undefined) throw new HotpatchError(code, 'for the test')
    return onCall?.(address, ...rest) ?? 0n
  }
  const before = snapshot(target)
  await expect(applyPatch(open(target), first)).rejects.toMatchObject({ code: 'CALL_TIMEOUT', cause: { code: 'NO_SAFE_THREAD' } })
  expect([snapshot(target), ownRegions(target)]).toEqual([before, []])
})

describe('an engine that dies while it makes room', async () => {
  const fresh = (): FakeTarget => {
    const target = targetWith()
    withLoader(target)
    return target
  }
  const whole = fresh()
  const original = snapshot(whole)
  await applyPatch(open(whole), first)
  const steps = whole.log.flatMap(({ kind }, i) => (kind === 'resume' ? [] : [i]))

  test.each(steps)('before step %i: the next one applies and takes it back', async (step) => {
    const target = fresh()
    target.fault = killEngineAt(step)
    await expect(applyPatch(open(target), first)).rejects.toBeInstanceOf(EngineKilled)
    target.fault = undefined
    expect(statusOf(open(target)).damaged).toEqual([])
    await applyPatch(open(target), first)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    await rollbackPatch(open(target))
    expect(snapshot(target)).toBe(original)
  })
})
