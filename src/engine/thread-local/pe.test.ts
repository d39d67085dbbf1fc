import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { EngineKilled, FakeTarget, failAt, fakeBackend, killEngineAt } from '../../process/fake/index.ts'
import type { ApplyReport } from '../apply.ts'
import { findLedgers } from '../find-ledgers.ts'
import { applyPatch, checkPatch, rollbackPatch, statusOf, verifyProcess } from '../index.ts'
import { encodeLedger } from '../ledger-codec.ts'
import { LEDGER_HEADER } from '../ledger-format.ts'
import { addressOf, type FunctionName, kernel32, type WindowsLoader, windowsThreads, withWindowsLoader } from '../testing/windows-loader.ts'
import { ownRegions, PATCH_RVA, snapshot } from '../testing/world.ts'
import { newPePatch, type PePatchOptions, peModule } from '../testing/world-pe.ts'

const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)

function fresh(): { target: FakeTarget; model: WindowsLoader } {
  const target = new FakeTarget({ pid: 7, name: 'server', modules: [peModule(), kernel32()], threads: windowsThreads() })
  return { target, model: withWindowsLoader(target) }
}

/** The fields with distances and numbers, as they are in the process. */
function fields(target: FakeTarget, report: ApplyReport, count: number): number[] {
  const image = BigInt(report.mappings.find(({ what }) => what === 'image')?.address ?? 0)
  const bytes = Buffer.from(target.peek(image + BigInt(PATCH_RVA.imports), 4 * count) ?? [])
  return Array.from({ length: count }, (_, i) => bytes.readInt32LE(4 * i))
}

const VARIABLES = { calls: 0, limit: 5 }
const first = newPePatch({ threadLocals: VARIABLES })
const second = (options: PePatchOptions) => newPePatch({ id: 'server-2', sequence: 2, content: 2, ...options })

async function refusal(target: FakeTarget, patch = first): Promise<HotpatchError> {
  const error = await applyPatch(open(target), patch).catch((e: unknown) => e)
  if (!(error instanceof HotpatchError)) throw error
  return error
}

describe('thread-local variables that a patch brings', () => {
  test('lie in a DLL that the process loads out of a file of its own; nothing else is left', async () => {
    const { target, model } = fresh()
    expect(checkPatch(open(target), first).outcome).toBe('would-apply')
    const report = await applyPatch(open(target), first)
    expect(fields(target, report, 4)).toEqual([0, 8, 5, 5])
    expect([[...model.files.keys()], model.loads, model.open.size]).toEqual([
      ['C:\\Temp\\hotpatch-thread-local-7-00.dll'],
      ['C:\\Temp\\hotpatch-thread-local-7-00.dll'],
      0,
    ])
    expect(ownRegions(target).filter(({ name }) => name.endsWith(':path'))).toEqual([])
    expect(verifyProcess(open(target)).outcome).toBe('verified')
  })

  test('that the patch before brought, too, stay where they are, and room is made for the others', async () => {
    const { target, model } = fresh()
    await applyPatch(open(target), first)
    const report = await applyPatch(open(target), second({ threadLocals: { limit: 5, calls: 0, more: 7 } }))
    expect(fields(target, report, 6)).toEqual([8, 0, 16, 5, 5, 6])
    expect(report.superseded?.kept).toEqual(['limit', 'calls'])
    const third = newPePatch({ id: 'server-3', sequence: 3, content: 3, threadLocals: { calls: 0, more: 7 } })
    expect(fields(target, await applyPatch(open(target), third), 4)).toEqual([0, 16, 5, 6])
    expect(model.loads.length).toBe(2)
  })

  test('beside new ones in one function: refused, for a number is that of one block', async () => {
    const { target, model } = fresh()
    await applyPatch(open(target), first)
    const before = snapshot(target)
    const torn = second({ threadLocals: { calls: 0, limit: 5, more: 7 }, groups: [['calls', 'more'], ['limit']] })
    expect(checkPatch(open(target), torn).blockers.map(({ code }) => code)).toEqual(['NO_THREAD_LOCAL'])
    expect((await refusal(target, torn)).detail).toMatch(/a function uses calls together with more/)
    expect([model.loads.length, snapshot(target)]).toEqual([1, before])
    const together = second({ threadLocals: VARIABLES, groups: [['calls', 'limit']] })
    expect((await applyPatch(open(target), together)).superseded?.kept).toEqual(['calls', 'limit'])
  })

  test.each([
    ['the image of the old one has gone: a DLL that nothing uses goes, too', { code: false, data: false, constants: false }, 1],
    ['it is still mapped: code of it may yet run', undefined, 6],
  ])('begin anew when the patch comes again, and %s', async (_title, escapes, modules) => {
    const { target, model } = fresh()
    const patch = newPePatch({ threadLocals: { calls: 0 }, ...(escapes && { escapes }) })
    for (let round = 0; round < 6; round++) {
      await applyPatch(open(target), patch)
      await rollbackPatch(open(target))
    }
    expect(model.loads.length).toBe(6)
    expect([model.loaded.size, model.files.size]).toEqual([modules, modules])
  })

  test('of a patch that another version has applied, which may name its DLL otherwise: nothing is unloaded', async () => {
    const { target, model } = fresh()
    await applyPatch(open(target), first)
    await rollbackPatch(open(target))
    const [ledger] = findLedgers(open(target)).ledgers
    if (ledger === undefined) throw new Error('no ledger')
    const names = { ...ledger.names, tool: '9.9.9', threadLocal: [] }
    const from = LEDGER_HEADER.offsets.selfAddress
    target.poke(ledger.address + BigInt(from), encodeLedger({ ...ledger, names }).subarray(from))
    expect(findLedgers(open(target)).ledgers[0]?.names.tool).toBe('9.9.9')
    await applyPatch(open(target), first)
    expect([...model.loaded.values()].map(({ index }) => index)).toEqual([5, 6])
  })

  test.each<[string, (model: WindowsLoader) => void, RegExp]>([
    ['no folder', ({ failing }) => failing.add('GetTempPathW'), /no folder for temporary files/],
    ['no file', ({ failing }) => failing.add('CreateFileW'), /cannot make a file in C:\\Temp\\/],
    ['a file that takes nothing', ({ failing }) => failing.add('WriteFile'), /WriteFile answers an error/],
    ['a loader that refuses', ({ failing }) => failing.add('LoadLibraryExW'), /does not load a DLL with 16 bytes/],
    ['a thread that gets no block', ({ forgets }) => forgets.add(2), /its loader gives thread 2 none/],
  ])('%s: refused, and nothing is changed', async (_title, spoil, expected) => {
    const { target, model } = fresh()
    const before = snapshot(target)
    spoil(model)
    const error = await refusal(target)
    expect(`${error.code} ${error.detail}`).toMatch(expected)
    expect(error.code).toBe('NO_THREAD_LOCAL')
    expect([snapshot(target), ownRegions(target), model.loaded.size, model.open.size, model.files.size]).toEqual([before, [], 0, 0, 0])
  })

  test('a thread that never asks the loader for anything: refused', async () => {
    const { target } = fresh()
    const teb = target.threads[2]?.teb ?? 0n
    target.poke(teb + 0x17een, Uint8Array.of(0, 0x40))
    expect((await refusal(target)).detail).toMatch(/gives thread 3 none/)
  })

  test('a thread that has not begun has its block when it does; one of which the system does not tell may have none', async () => {
    const { target } = fresh()
    const [thread] = target.threads
    if (thread === undefined) throw new Error('no thread')
    target.threads.push({ ...thread, id: 4, teb: 0n })
    expect((await applyPatch(open(target), first)).outcome).toBe('applied')
    const other = fresh()
    const { teb: _, ...unknown } = thread
    other.target.threads.push({ ...unknown, id: 4 })
    expect((await refusal(other.target)).detail).toMatch(/gives thread 4 none/)
  })

  test("a file of that name that is not ours to delete: the next number's", async () => {
    const { target, model } = fresh()
    model.open.set(1n, 'C:\\Temp\\hotpatch-thread-local-7-00.dll')
    model.files.set('C:\\Temp\\hotpatch-thread-local-7-00.dll', Uint8Array.of(1))
    await applyPatch(open(target), first)
    expect(model.loads).toEqual(['C:\\Temp\\hotpatch-thread-local-7-01.dll'])
  })

  test('a process without kernel32.dll: refused', async () => {
    const target = new FakeTarget({ pid: 7, name: 'server', modules: [peModule()], threads: windowsThreads() })
    expect((await refusal(target)).detail).toMatch(/no GetTempPathW, CreateFileW/)
  })
})

const reference = fresh()
const original = snapshot(reference.target)
await applyPatch(open(reference.target), first)
const steps = reference.target.log.flatMap(({ kind }, i) => (kind === 'resume' ? [] : [i]))

describe('an engine that dies while it makes room', () => {
  test.each(steps)('before step %i: the next one applies and takes it back, and at most one file more is left', async (step) => {
    const { target, model } = fresh()
    target.fault = killEngineAt(step)
    await expect(applyPatch(open(target), first)).rejects.toBeInstanceOf(EngineKilled)
    target.fault = undefined
    expect(statusOf(open(target)).damaged).toEqual([])
    await applyPatch(open(target), first)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    expect(model.loaded.size).toBeLessThanOrEqual(2)
    expect(model.files.size).toBeLessThanOrEqual(2)
    await rollbackPatch(open(target))
    expect(snapshot(target)).toBe(original)
  })
})

describe('a step that fails while room is made', () => {
  const stepOf = (name: FunctionName): number =>
    reference.target.log.findIndex((step) => step.kind === 'call' && step.address === addressOf(name))
  const [last, closing] = [stepOf('LoadLibraryExW'), stepOf('CloseHandle')]
  const made = steps.filter((step) => step <= last)

  test.each(made)('step %i: told, and what was done is undone', async (step) => {
    const { target, model } = fresh()
    const fault = failAt(step, new HotpatchError('CALL_FAULTED', 'for the test'))
    target.fault = (...args) => {
      // Undoing does not fail, too.
      if (args[1] === step) target.fault = undefined
      fault(...args)
    }
    expect((await refusal(target)).code).toBe('CALL_FAULTED')
    // What cannot be closed cannot be deleted.
    const left = step === closing ? 1 : 0
    expect([snapshot(target), model.loaded.size, model.open.size, model.files.size]).toEqual([original, 0, left, left])
    expect(ownRegions(target).length).toBe(reference.target.log[step]?.kind === 'unmap' ? 1 : 0)
    target.fault = undefined
    await applyPatch(open(target), first)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
  })
})
