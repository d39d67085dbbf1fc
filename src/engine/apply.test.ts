import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../errors.ts'
import { fakeBackend } from '../process/fake/index.ts'
import { applyPatch, checkPatch, rollbackPatch, statusOf, statusOfAll, verifyProcess } from './index.ts'
import { BASE, baseModule, follow, IMPORTED, newPatch, newTarget, ownRegions, PATCH_RVA, RVA, snapshot } from './testing/world.ts'

const open = (target: ReturnType<typeof newTarget>) => fakeBackend([target]).open(target.pid)

async function failure(run: () => unknown): Promise<HotpatchError> {
  try {
    await run()
  } catch (error) {
    if (error instanceof HotpatchError) return error
    throw error
  }
  throw new Error('it did not fail')
}

const reasons = (error: HotpatchError) =>
  (error.facts.reasons as { code: string; symbol: string }[]).map(({ code, symbol }) => [code, symbol])

describe('apply', () => {
  test('redirects every function through its stub to the new one', async () => {
    const target = newTarget()
    const process = open(target)
    const report = await applyPatch(process, newPatch())
    expect(report.outcome).toBe('applied')
    expect(report.functions.map(({ name, redirect }) => [name, redirect])).toEqual([
      ['padded', 'padding'],
      ['nopped', 'entry-nops'],
      ['plain', 'first-bytes'],
    ])
    const image = BigInt(report.mappings.find(({ what }) => what === 'image')?.address ?? 0)
    for (const name of ['padded', 'nopped', 'plain'] as const)
      expect(follow(process, BASE + BigInt(RVA[name]))).toBe(image + BigInt(PATCH_RVA[name]))
  })

  test('maps nothing writable and executable, and names what it maps', async () => {
    const target = newTarget()
    await applyPatch(open(target), newPatch())
    expect(ownRegions(target).map(({ name, write, execute }) => [name, `${write ? 'w' : ''}${execute ? 'x' : ''}`])).toEqual([
      ['hotpatch:server-1:hpat', ''],
      ['hotpatch:server-1:hpat', 'x'],
      ['hotpatch:server-1:hpat', ''],
      ['hotpatch:server-1', ''],
      ['hotpatch:server-1', 'x'],
      ['hotpatch:server-1', 'w'],
    ])
  })

  test('binds the patch image to the base image', async () => {
    const target = newTarget()
    const process = open(target)
    const { mappings } = await applyPatch(process, newPatch())
    const image = BigInt(mappings[0]?.address ?? 0)
    const word = (rva: number) => Buffer.from(process.read(image + BigInt(rva), 8)).readBigUInt64LE()
    expect(word(PATCH_RVA.slot)).toBe(BASE + BigInt(RVA.variable))
    expect(word(PATCH_RVA.indirect)).toBe(IMPORTED)
    expect(word(PATCH_RVA.self)).toBe(image + 0x1000n)
  })

  test('only entries are written inside the stop, everything else outside', async () => {
    const target = newTarget()
    await applyPatch(open(target), newPatch())
    const inside = target.log.filter((step) => step.kind === 'write' && step.stopped)
    expect(inside.map((step) => step.kind === 'write' && step.address)).toEqual([
      BASE + BigInt(RVA.padded),
      BASE + BigInt(RVA.nopped),
      BASE + BigInt(RVA.plain),
    ])
    expect(target.log.filter((step) => step.kind === 'stop')).toHaveLength(1)
  })

  test('a second apply of the same patch is no error and changes nothing', async () => {
    const target = newTarget()
    await applyPatch(open(target), newPatch())
    const steps = target.log.length
    const again = await applyPatch(open(target), newPatch())
    expect(again.outcome).toBe('already-applied')
    expect(target.log).toHaveLength(steps)
  })

  test('600 functions take two pairs of pages', async () => {
    const { module, patch, entries } = manyFunctions(600)
    const target = newTarget(7, [module])
    const process = open(target)
    const report = await applyPatch(process, patch)
    const image = BigInt(report.mappings[0]?.address ?? 0)
    for (const [i, entry] of entries.entries()) expect(follow(process, BASE + BigInt(entry))).toBe(image + 0x1000n + BigInt(i))
    expect(verifyProcess(process).outcome).toBe('verified')
    const hpat = report.mappings[1]
    expect(ownRegions(target).filter(({ name, execute }) => name.endsWith(':hpat') && execute)).toHaveLength(2)
    expect(hpat?.size ?? 0).toBeGreaterThan(4 * 4096)
  })

  test('a thread inside the bytes to be overwritten is waited for', async () => {
    const target = newTarget()
    const worker = target.threads[1]
    if (worker === undefined) throw new Error('no worker')
    worker.instructionPointer = BASE + BigInt(RVA.plain) + 2n
    let stops = 0
    target.onResume = () => {
      if (++stops === 3) worker.instructionPointer = BASE + BigInt(RVA.plain) + 5n
    }
    const report = await applyPatch(open(target), newPatch(), { consistency: 'none' })
    expect(report.stop).toMatchObject({ tries: 4, threads: 2, consistency: 'none', way: 'stop' })
  })

  test('a patch that needs one instant for all its functions is not applied with less', async () => {
    const patch = newPatch()
    const strict = { ...patch, manifest: { ...patch.manifest, consistency: 'patch' as const } }
    for (const consistency of ['none', 'function'] as const)
      await expect(applyPatch(open(newTarget()), strict, { consistency })).rejects.toMatchObject({ code: 'CONSISTENCY_REQUIRED' })
    expect((await applyPatch(open(newTarget()), strict, { consistency: 'patch' })).outcome).toBe('applied')
    expect((await applyPatch(open(newTarget()), strict)).outcome).toBe('applied')
  })

  test('nor does it go with less: its ledger says so', async () => {
    const patch = newPatch()
    const target = newTarget()
    await applyPatch(open(target), { ...patch, manifest: { ...patch.manifest, consistency: 'patch' as const } })
    const patched = open(target).read(BASE, 0x1000)
    for (const consistency of ['none', 'function'] as const)
      await expect(rollbackPatch(open(target), { consistency })).rejects.toMatchObject({ code: 'CONSISTENCY_REQUIRED' })
    expect(open(target).read(BASE, 0x1000)).toEqual(patched)
    expect((await rollbackPatch(open(target))).outcome).toBe('rolled-back')
  })

  test('a thread on the first byte of a function is no reason to wait', async () => {
    const target = newTarget()
    for (const [i, thread] of target.threads.entries()) thread.instructionPointer = BASE + BigInt(i === 0 ? RVA.plain : RVA.padded)
    expect((await applyPatch(open(target), newPatch())).stop?.tries).toBe(1)
  })

  test('a thread that stays: BUSY names it and the function, and nothing is left', async () => {
    const target = newTarget()
    const before = snapshot(target)
    const worker = target.threads[1]
    if (worker === undefined) throw new Error('no worker')
    worker.instructionPointer = BASE + BigInt(RVA.plain) + 2n
    const error = await failure(() => applyPatch(open(target), newPatch(), { timeoutMs: 400 }))
    expect(error.code).toBe('BUSY')
    expect(error.exit).toBe(4)
    expect(error.facts).toMatchObject({ thread: { id: 8, name: 'worker' }, function: 'plain' })
    expect(error.facts.tries).toBeGreaterThan(1)
    expect(snapshot(target)).toBe(before)
    expect(ownRegions(target)).toEqual([])
    expect(target.log.filter((step) => step.kind === 'registerUnwind')).toHaveLength(1)
    expect(target.log.filter((step) => step.kind === 'unregisterUnwind')).toHaveLength(1)
  })
})

describe('refusals', () => {
  test('the process maps no such image', async () => {
    const target = newTarget(7, [baseModule({ buildId: 'ff'.repeat(20), path: '/usr/lib/other.so' })])
    expect((await failure(() => applyPatch(open(target), newPatch()))).code).toBe('BASE_NOT_MAPPED')
  })

  test('another build of it: both identities are named', async () => {
    const target = newTarget(7, [baseModule({ buildId: 'ff'.repeat(20) })])
    const error = await failure(() => applyPatch(open(target), newPatch()))
    expect(error.code).toBe('BASE_DIFFERS')
    expect(error.detail).toContain('ff'.repeat(20))
    expect(error.detail).toContain('00112233')
  })

  test('the same image under another name is the same image', async () => {
    const target = newTarget(7, [baseModule({ path: '/tmp/renamed.so.1 (deleted)' })])
    expect((await applyPatch(open(target), newPatch())).outcome).toBe('applied')
  })

  test('the image twice', async () => {
    const target = newTarget(7, [baseModule(), baseModule({ base: BASE + 0x100000n })])
    expect((await failure(() => applyPatch(open(target), newPatch()))).code).toBe('BASE_AMBIGUOUS')
  })

  test('every function that was changed by others is named at once', async () => {
    const target = newTarget()
    target.poke(BASE + BigInt(RVA.padded), Uint8Array.of(0xcc))
    target.poke(BASE + BigInt(RVA.plain), Uint8Array.of(0xcc))
    const error = await failure(() => applyPatch(open(target), newPatch()))
    expect(error.code).toBe('ORIGINAL_BYTES_DIFFER')
    expect(reasons(error)).toEqual([
      ['ORIGINAL_BYTES_DIFFER', 'padded'],
      ['ORIGINAL_BYTES_DIFFER', 'plain'],
    ])
    expect(target.log).toEqual([])
  })

  test('padding that something stands in', async () => {
    const target = newTarget()
    target.poke(BASE + BigInt(RVA.padded) - 3n, Uint8Array.of(0xc3))
    expect(reasons(await failure(() => applyPatch(open(target), newPatch())))).toEqual([['REDIRECT_REFUSED', 'padded']])
  })

  test('another patch is active', async () => {
    const target = newTarget()
    await applyPatch(open(target), newPatch())
    expect((await failure(() => applyPatch(open(target), newPatch({ id: 'server-2', content: 3 })))).code).toBe('SEQUENCE_NOT_HIGHER')
    expect((await failure(() => applyPatch(open(target), newPatch({ content: 2 })))).code).toBe('PATCH_ID_TAKEN')
    await rollbackPatch(open(target))
    expect((await applyPatch(open(target), newPatch({ id: 'server-2', sequence: 2 }))).outcome).toBe('applied')
  })

  test('the system forbids the mapping', async () => {
    const target = newTarget()
    target.mappingRefusal = new HotpatchError('MAPPING_REFUSED', 'no')
    const before = snapshot(target)
    expect((await failure(() => applyPatch(open(target), newPatch()))).code).toBe('MAPPING_REFUSED')
    expect(snapshot(target)).toBe(before)
  })

  test('the place is taken meanwhile: another one is found', async () => {
    const target = newTarget()
    let taken = 0
    target.fault = (step) => {
      if (step.kind === 'map' && step.name === 'hotpatch:server-1' && taken++ === 0) throw new HotpatchError('PLACE_TAKEN', 'taken')
    }
    expect((await applyPatch(open(target), newPatch())).outcome).toBe('applied')
    expect(ownRegions(target)).toHaveLength(6)
  })
})

describe('check', () => {
  test('says what apply would do, and does nothing', () => {
    const target = newTarget()
    const report = checkPatch(open(target), newPatch())
    expect(report).toMatchObject({
      outcome: 'would-apply',
      base: { name: 'libserver.so', deleted: false },
      functions: [
        { name: 'padded', redirect: 'padding', overwritten: 2 },
        { name: 'nopped', redirect: 'entry-nops', overwritten: 2 },
        { name: 'plain', redirect: 'first-bytes', overwritten: 5 },
      ],
      blockers: [],
      interrupted: [],
    })
    expect(report.place).toBeDefined()
    expect(target.log).toEqual([])
    expect(JSON.parse(JSON.stringify(report))).toMatchObject({ outcome: 'would-apply' })
  })

  test('already applied', async () => {
    const target = newTarget()
    await applyPatch(open(target), newPatch())
    expect(checkPatch(open(target), newPatch())).toMatchObject({ outcome: 'already-applied', blockers: [] })
  })

  test('says why not', async () => {
    const target = newTarget()
    await applyPatch(open(target), newPatch())
    expect(checkPatch(open(target), newPatch({ content: 2 }))).toMatchObject({
      outcome: 'would-refuse',
      blockers: [{ code: 'PATCH_ID_TAKEN' }],
    })
  })
})

describe('status and verify', () => {
  test('a process without patches', () => {
    const target = newTarget()
    expect(statusOf(open(target))).toMatchObject({ pid: 7, patches: [], damaged: [] })
    expect(verifyProcess(open(target)).outcome).toBe('nothing-to-verify')
  })

  test('an applied patch is described from the process alone', async () => {
    const target = newTarget()
    await applyPatch(open(target), newPatch())
    const { patches } = statusOf(open(target))
    expect(patches).toMatchObject([
      {
        id: 'server-1',
        sequence: 1,
        description: 'a test',
        cves: ['CVE-2026-0001'],
        state: 'applied',
        recovery: 'none',
        base: { name: 'libserver.so', path: '/usr/lib/libserver.so' },
        functions: [{ name: 'padded', file: 'padded.c' }, { name: 'nopped' }, { name: 'plain' }],
        revertedAt: undefined,
      },
    ])
    expect(patches[0]?.appliedAt).toMatch(/^20\d\d-/)
    expect(verifyProcess(open(target))).toMatchObject({ outcome: 'verified', patches: [{ findings: [] }] })
  })

  test('all processes that carry a ledger', async () => {
    const targets = [newTarget(7), newTarget(9), newTarget(11)]
    const backend = fakeBackend(targets)
    await applyPatch(backend.open(9), newPatch())
    expect(statusOfAll(backend)).toMatchObject({ looked: 3, unreadable: {}, processes: [{ pid: 9, patches: [{ id: 'server-1' }] }] })
  })

  test.each([
    ['entry', (): bigint => BASE + BigInt(RVA.plain) + 1n, 'plain'],
    ['pad', () => BASE + BigInt(RVA.nopped) - 4n, 'nopped'],
    ['stub', (hpat: bigint) => hpat + 4096n + 8n, 'nopped'],
    ['pointer', (hpat: bigint) => hpat + 8192n, 'padded'],
    ['image', (_: bigint, image: bigint) => image + 0x1041n, 'padded, nopped, plain'],
    ['image', (_: bigint, image: bigint) => image + 0x123n, ''],
  ] as const)('a byte changed behind its back is found: %s', async (what, where, name) => {
    const target = newTarget()
    const { mappings } = await applyPatch(open(target), newPatch())
    const at = where(BigInt(mappings[1]?.address ?? 0), BigInt(mappings[0]?.address ?? 0))
    target.poke(at, Uint8Array.of((target.peek(at, 1)?.[0] ?? 0) ^ 1))
    const report = verifyProcess(open(target))
    expect(report.outcome).toBe('differs')
    expect(report.patches[0]?.findings).toMatchObject([{ what, function: name }])
  })

  test('writable data of the patch may change', async () => {
    const target = newTarget()
    const { mappings } = await applyPatch(open(target), newPatch())
    target.poke(BigInt(mappings[0]?.address ?? 0) + 0x2000n, Uint8Array.of(99))
    expect(verifyProcess(open(target)).outcome).toBe('verified')
  })

  test('a damaged ledger is said to be one, and nothing is applied over it', async () => {
    const target = newTarget()
    const { mappings } = await applyPatch(open(target), newPatch())
    target.poke(BigInt(mappings[1]?.address ?? 0) + 300n, Uint8Array.of(0xee))
    expect(statusOf(open(target))).toMatchObject({ patches: [], damaged: [{ code: 'LEDGER_DAMAGED' }] })
    expect(verifyProcess(open(target)).outcome).toBe('differs')
    expect((await failure(() => applyPatch(open(target), newPatch()))).code).toBe('LEDGER_DAMAGED')
    expect((await failure(() => rollbackPatch(open(target)))).code).toBe('LEDGER_DAMAGED')
  })
})

describe('rollback', () => {
  test('restores every byte, keeps the memory, and says so', async () => {
    const target = newTarget()
    const before = snapshot(target)
    await applyPatch(open(target), newPatch())
    expect(snapshot(target)).not.toBe(before)
    const report = await rollbackPatch(open(target))
    expect(report).toMatchObject({ outcome: 'rolled-back', id: 'server-1', functions: [{ name: 'padded' }, {}, {}] })
    expect(report.retired).toHaveLength(2)
    expect(snapshot(target)).toBe(before)
    expect(ownRegions(target)).toHaveLength(6)
    expect(statusOf(open(target)).patches).toMatchObject([{ state: 'reverted' }])
    expect(verifyProcess(open(target)).outcome).toBe('nothing-to-verify')
  })

  test('where nothing is applied it is no error', async () => {
    const target = newTarget()
    expect((await rollbackPatch(open(target))).outcome).toBe('nothing-to-roll-back')
    await applyPatch(open(target), newPatch())
    expect((await rollbackPatch(open(target), { id: 'other' })).outcome).toBe('nothing-to-roll-back')
    await rollbackPatch(open(target), { id: 'server-1' })
    expect((await rollbackPatch(open(target))).outcome).toBe('nothing-to-roll-back')
  })

  test('apply after rollback maps a fresh image', async () => {
    const target = newTarget()
    const first = await applyPatch(open(target), newPatch())
    target.poke(BigInt(first.mappings[0]?.address ?? 0) + 0x2000n, Uint8Array.of(99))
    await rollbackPatch(open(target))
    const second = await applyPatch(open(target), newPatch())
    expect(second.outcome).toBe('applied')
    expect(second.mappings[0]?.address).not.toBe(first.mappings[0]?.address)
    expect(target.peek(BigInt(second.mappings[0]?.address ?? 0) + 0x2000n, 1)).toEqual(Uint8Array.of(1))
    expect(statusOf(open(target)).patches.map(({ state }) => state)).toEqual(['reverted', 'applied'])
  })

  test('refuses where somebody else wrote, naming the place', async () => {
    const target = newTarget()
    await applyPatch(open(target), newPatch())
    target.poke(BASE + BigInt(RVA.plain), Uint8Array.of(0xcc))
    const patched = snapshot(target)
    const error = await failure(() => rollbackPatch(open(target)))
    expect(error.code).toBe('VERIFY_FAILED')
    expect(reasons(error)).toEqual([['VERIFY_FAILED', 'plain']])
    expect(snapshot(target)).toBe(patched)
  })

  test('a thread in a pad is waited for; while it stays the patch stays applied', async () => {
    const target = newTarget()
    await applyPatch(open(target), newPatch())
    const worker = target.threads[1]
    if (worker === undefined) throw new Error('no worker')
    worker.instructionPointer = BASE + BigInt(RVA.padded) - 5n
    const error = await failure(() => rollbackPatch(open(target), { timeoutMs: 20 }))
    expect([error.code, error.facts.function]).toEqual(['BUSY', 'padded'])
    expect(statusOf(open(target)).patches).toMatchObject([{ state: 'applied' }])
    expect(verifyProcess(open(target)).outcome).toBe('verified')
    worker.instructionPointer = BASE + BigInt(RVA.padded)
    expect((await rollbackPatch(open(target))).outcome).toBe('rolled-back')
  })

  test('two patches on two images need an id', async () => {
    const other = 'aa'.repeat(20)
    const target = newTarget(7, [baseModule(), baseModule({ base: BASE + 0x10000000n, buildId: other, path: '/lib/b.so' })])
    const patch = newPatch({ id: 'b', content: 3 })
    const [entry] = patch.table.bases
    if (entry === undefined) throw new Error('no base')
    const forOther = {
      ...patch,
      table: { ...patch.table, bases: [{ ...entry, originalTimeDateStamp: 0xaaaaaaaa, originalCheckSum: 0xaaaaaaaa }] },
      manifest: { ...patch.manifest, base: { ...patch.manifest.base, buildId: other } },
    }
    await applyPatch(open(target), newPatch())
    await applyPatch(open(target), forOther)
    expect((await failure(() => rollbackPatch(open(target)))).code).toBe('PATCH_AMBIGUOUS')
    expect(await rollbackPatch(open(target), { id: 'b' })).toMatchObject({ outcome: 'rolled-back', id: 'b' })
    expect(await rollbackPatch(open(target))).toMatchObject({ outcome: 'rolled-back', id: 'server-1' })
  })
})

/** A module of `count` small functions and a patch of all of them. */
function manyFunctions(count: number) {
  const module = baseModule()
  const text = new Uint8Array(0x4000).fill(0xcc)
  const entries = Array.from({ length: count }, (_, i) => 0x1000 + 16 * i)
  for (const rva of entries) text.set([0xb8, 1, 0, 0, 0, 0xc3], rva - 0x1000)
  const patch = newPatch()
  const [entry] = patch.table.bases
  const [header] = module.segments
  if (entry === undefined || header === undefined) throw new Error('no base')
  return {
    entries,
    module: {
      ...module,
      segments: [header, { offset: 0x1000, size: 0x4000, protection: 'rx' as const, content: text }],
    },
    patch: {
      ...patch,
      table: {
        ...patch.table,
        bases: [
          {
            ...entry,
            chunks: [
              {
                type: 'FUNCTION' as const,
                inverse: false,
                obligatory: true,
                records: entries.map((source, i) => ({ source, target: 0x1000 + i, extras: [0x000001b8] })),
              },
            ],
          },
        ],
      },
      manifest: {
        ...patch.manifest,
        functions: entries.map((rva, i) => ({
          name: `f${i}`,
          file: 'many.c',
          rva,
          size: 6,
          patchRva: 0x1000 + i,
          patchSize: 1,
          redirect: 'first-bytes' as const,
        })),
      },
    },
  }
}
