import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { EngineKilled, type FakeModule, type FakeTarget, fakeBackend, killEngineAt } from '../../process/fake/index.ts'
import { applyPatch, checkPatch, rollbackPatch, statusOf, verifyProcess } from '../index.ts'
import { library, linkMap } from '../testing/library.ts'
import { baseModule, newPatch, newTarget, ownRegions, PATCH_RVA, snapshot } from '../testing/world.ts'
import { resolveImports } from './resolve.ts'

const LIBC = 0x7f10_0000_0000n
const LIBSSL = 0x7f20_0000_0000n
const libc = library({ base: LIBC, soname: 'libc.so.6', functions: { dlopen: 0x1100, puts: 0x1200, memcpy: 0x1300 }, indirect: ['memcpy'] })
const libssl = library({ base: LIBSSL, soname: 'libssl.so.3', functions: { SSL_new: 0x1100, SSL_SESSION_get0_hostname: 0x1200 } })

const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)
const targetWith = (...modules: FakeModule[]) => newTarget(7, [baseModule(), ...modules])
const patchOf = (...names: [name: string, library: string][]) =>
  newPatch({ imports: names.map(([name, from]) => ({ name, library: from })) })
const HOSTNAME = patchOf(['SSL_SESSION_get0_hostname', 'libssl.so.3'], ['puts', 'libc.so.6'])

/** The pointers of the imports, as they are in the process. */
function pointers(target: FakeTarget, report: Awaited<ReturnType<typeof applyPatch>>, count: number): bigint[] {
  const image = BigInt(report.mappings.find(({ what }) => what === 'image')?.address ?? 0)
  const bytes = Buffer.from(target.peek(image + BigInt(PATCH_RVA.imports), 8 * count) ?? [])
  return Array.from({ length: count }, (_, i) => bytes.readBigUInt64LE(8 * i))
}

async function refusal(target: FakeTarget, patch: ReturnType<typeof newPatch>): Promise<string> {
  const [before, steps] = [snapshot(target), target.log.length]
  const error = await applyPatch(open(target), patch).catch((e: unknown) => e)
  if (!(error instanceof HotpatchError)) throw error
  expect([snapshot(target), ownRegions(target), target.log.length]).toEqual([before, [], steps])
  expect(checkPatch(open(target), patch)).toMatchObject({ outcome: 'would-refuse', blockers: [{ code: error.code }] })
  return `${error.code}: ${error.detail}`
}

/** What the target's dlopen does: the library that is asked for appears. */
function answersDlopen(target: FakeTarget, known: readonly FakeModule[]): void {
  target.onCall = (address, [name]) => {
    expect(address).toBe(LIBC + 0x1100n)
    const soname = Buffer.from(name as Uint8Array)
      .toString()
      .replace('\0', '')
    const module = known.find(({ path }) => path.endsWith(`/${soname}`))
    if (module === undefined) return 0n
    target.addModule(module)
    return 0x1234n
  }
}

describe('imports of a patch image', () => {
  test('are found in the modules that the process has loaded', async () => {
    const target = targetWith(libc, libssl)
    const report = await applyPatch(open(target), HOSTNAME)
    expect(pointers(target, report, 2)).toEqual([LIBSSL + 0x1200n, LIBC + 0x1200n])
    expect(report.loaded).toEqual([])
    expect(target.log.filter(({ kind }) => kind === 'call')).toEqual([])
    expect(verifyProcess(open(target)).outcome).toBe('verified')
  })

  test('that no module has: refused by name before anything is touched', async () => {
    const patch = patchOf(['SSL_new', 'libssl.so.3'], ['SSL_later', 'libssl.so.3'])
    expect(await refusal(targetWith(libc, libssl), patch)).toMatch(
      /^IMPORT_MISSING: .*libssl.so.3 of the process does not define SSL_later/,
    )
  })

  test('of a program without a loader: its library cannot be loaded', async () => {
    expect(await refusal(targetWith(), HOSTNAME)).toMatch(/^LIBRARY_NOT_LOADED: .*libssl.so.3/)
  })

  test('of a library that is not loaded: the process loads it first', async () => {
    const target = targetWith(libc)
    answersDlopen(target, [libssl])
    expect(checkPatch(open(target), HOSTNAME)).toMatchObject({ outcome: 'would-apply', loads: ['libssl.so.3'] })
    const report = await applyPatch(open(target), HOSTNAME)
    expect(report.loaded).toEqual(['libssl.so.3'])
    expect(pointers(target, report, 2)).toEqual([LIBSSL + 0x1200n, LIBC + 0x1200n])
    expect(target.log.findIndex(({ kind }) => kind === 'call')).toBe(0)
  })

  test.each([
    ['there is none', [], /^LIBRARY_NOT_LOADED: process 7 could not load libssl.so.3/],
    [
      'it is another one',
      [library({ base: LIBSSL, soname: 'libssl.so.3', functions: {} })],
      /^IMPORT_MISSING: .*SSL_SESSION_get0_hostname/,
    ],
  ])('of a library that is not loaded, and %s', async (_, known, expected) => {
    const target = targetWith(libc)
    const before = snapshot(target)
    answersDlopen(target, known)
    const error = await applyPatch(open(target), HOSTNAME).catch((e: unknown) => e)
    expect(`${(error as HotpatchError).code}: ${(error as HotpatchError).detail}`).toMatch(expected)
    expect([snapshot(target), ownRegions(target)]).toEqual([before, []])
  })

  test('that are indirect functions: their resolver is asked in the process', async () => {
    const target = targetWith(libc)
    target.onCall = (address) => (address === LIBC + 0x1300n ? LIBC + 0x1abcn : 0n)
    const report = await applyPatch(open(target), patchOf(['memcpy', 'libc.so.6']))
    expect(pointers(target, report, 1)).toEqual([LIBC + 0x1abcn])
  })
})

describe('several modules that define a name', () => {
  const other = library({ base: 0x7f30_0000_0000n, soname: 'libother.so', functions: { puts: 0x1700 } })
  const DEBUG = 0x7f40_0000_0000n
  const puts = patchOf(['puts', 'libc.so.6'])
  const main = (needed: string[]) => library({ base: 0x4000_0000_0000n, soname: 'program', functions: {}, needed, debug: DEBUG })
  const found = (program: FakeModule, order: FakeModule[]) => {
    const target = newTarget(7, [program, baseModule(), ...order])
    target.addMapping(DEBUG, 0x1000, 'r', linkMap(DEBUG, [program, ...order]), '')
    return [...resolveImports(open(target), puts).found.values()]
  }

  test('without the order of the loader: ambiguous', async () => {
    expect(await refusal(targetWith(libc, other), puts)).toMatch(/^IMPORT_AMBIGUOUS: .*libc.so.6 and .*libother.so/)
  })
  test('what stands before the library since the start takes its place, as LD_PRELOAD does', () => {
    expect(found(main(['libc.so.6']), [other, libc])).toEqual([{ address: 0x7f30_0000_1700n }])
  })
  test('what was loaded later does not', () => {
    expect(found(main(['libc.so.6']), [libc, other])).toEqual([{ address: LIBC + 0x1200n }])
    expect(found(main([]), [other, libc])).toEqual([{ address: LIBC + 0x1200n }])
  })
})

describe('an engine that dies while it applies a patch with imports', async () => {
  const apply = (target: FakeTarget) => applyPatch(open(target), HOSTNAME)
  const fresh = (): FakeTarget => {
    const target = targetWith(libc)
    answersDlopen(target, [libssl])
    return target
  }
  const whole = fresh()
  const original = snapshot(whole)
  await apply(whole)
  const steps = whole.log.flatMap(({ kind }, i) => (kind === 'resume' ? [] : [i]))

  test.each(steps)('before step %i: the next one applies and takes it back', async (step) => {
    const target = fresh()
    target.fault = killEngineAt(step)
    await expect(apply(target)).rejects.toBeInstanceOf(EngineKilled)
    target.fault = undefined
    expect(statusOf(open(target)).damaged).toEqual([])
    const report = await apply(target)
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    if (report.outcome === 'applied') expect(pointers(target, report, 2)).toEqual([LIBSSL + 0x1200n, LIBC + 0x1200n])
    await rollbackPatch(open(target))
    expect(snapshot(target)).toBe(original)
  })
})
