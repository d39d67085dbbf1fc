/** The engine on an ARM64 process: the world of the other tests, its three functions in ARM64 code. */
import { describe, expect, test } from 'vitest'
import { BTI_C, decodeWord, NOP, PACIASP, wordAt, wordsOf } from '../machine/arm64/instructions.ts'
import { hotPatchBaseFlags } from '../patch/encode.ts'
import type { PatchImage } from '../patch/image.ts'
import type { HotPatchRecord } from '../patch/table.ts'
import type { Process } from '../process/contract.ts'
import { type FakeModule, FakeTarget, fakeBackend } from '../process/fake/index.ts'
import { applyPatch, rollbackPatch, verifyProcess } from './index.ts'
import { BASE, baseModule, newPatch, PATCH_RVA, RVA, snapshot } from './testing/world.ts'

const RET = 0xd65f03c0
const STP = 0xa9be7bfd
const CODE = { padded: [BTI_C, STP, RET], nopped: [NOP, STP, RET], plain: [PACIASP, STP, RET] } as const
const KINDS = { padded: 'first-bytes', nopped: 'entry-nops', plain: 'first-bytes' } as const
/** Where each branch comes to lie, from the entry. */
const AT = { padded: 4, nopped: 0, plain: 4 } as const
const NAMES = ['padded', 'nopped', 'plain'] as const

const EM_AARCH64 = 183
const E_MACHINE = 18

/** cmp w0, #3; b.hi; adrp x1 and add of a table in the next page; ldrb; adr x0; add; br x1; nop; nop; ret: what machine/arm64/jump-tables.ts reads. */
const SWITCH = [0x71000c1f, 0x54000148, 0xb0000001, 0x91008021, 0x38604821, 0x10000060, 0x8b218801, 0xd61f0020, NOP, NOP, RET] as const
const TABLE_RVA = 0x2020

function module(): FakeModule {
  const { segments, ...rest } = baseModule()
  return {
    ...rest,
    segments: segments.map((segment) => {
      const content = segment.content.slice()
      if (segment.offset === 0) content[E_MACHINE] = EM_AARCH64
      if (segment.offset === 0x1000) for (const name of NAMES) content.set(wordsOf(CODE[name]), RVA[name] - 0x1000)
      return { ...segment, content }
    }),
  }
}

function patch(sequence = 1): PatchImage {
  const image = newPatch({ sequence, id: `server-${sequence}`, content: sequence })
  const bases = image.table.bases.map((base) => ({
    ...base,
    flags: hotPatchBaseFlags({ machine: 'arm64', obligatory: false, canRollBack: true }),
    chunks: base.chunks.map((chunk) =>
      chunk.type === 'FUNCTION'
        ? { ...chunk, records: chunk.records.map((r, i) => ({ ...r, extras: [CODE[NAMES[i] as 'plain'][0]] })) }
        : chunk,
    ),
  }))
  const functions = image.manifest.functions.map((f) => ({ ...f, size: 12, redirect: KINDS[f.name as 'plain'] }))
  return { ...image, machine: 'arm64', table: { ...image.table, bases }, manifest: { ...image.manifest, functions } }
}

const newTarget = (): FakeTarget => new FakeTarget({ pid: 7, name: 'server', machine: 'arm64', modules: [module()] })
const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)

/** Where a call of a function ends up: through its branch, then through the stub's pointer a page behind it. */
function follow(process: Process, name: (typeof NAMES)[number]): bigint {
  const at = BASE + BigInt(RVA[name] + AT[name])
  const branch = decodeWord(wordAt(process.read(at, 4), 0))
  expect(branch.form).toBe('b')
  const stub = at + BigInt(branch.distance as number)
  const load = decodeWord(wordAt(process.read(stub, 8), 0))
  expect([load.form, decodeWord(wordAt(process.read(stub, 8), 4)).flow]).toEqual(['ldr-literal', 'jump-indirect'])
  return Buffer.from(process.read(stub + BigInt(load.distance as number), 8)).readBigUInt64LE()
}

/** `plain` is a switch, whose table leads so many words from behind its jump. */
function withSwitch(distances: readonly number[]): { target: FakeTarget; image: PatchImage } {
  const { segments, ...rest } = module()
  const text = segments.find(({ offset }) => offset === 0x1000)?.content as Uint8Array
  text.set(wordsOf(SWITCH), RVA.plain - 0x1000)
  text.set(Int8Array.from(distances), TABLE_RVA - 0x1000)
  const whole = patch()
  const record = (r: HotPatchRecord): HotPatchRecord => (r.source === RVA.plain ? { ...r, extras: [SWITCH[0]] } : r)
  const bases = whole.table.bases.map((base) => ({
    ...base,
    chunks: base.chunks.map((chunk) => (chunk.type === 'FUNCTION' ? { ...chunk, records: chunk.records.map(record) } : chunk)),
  }))
  const functions = whole.manifest.functions.map((f) => (f.name === 'plain' ? { ...f, size: SWITCH.length * 4 } : f))
  const target = new FakeTarget({ pid: 7, name: 'server', machine: 'arm64', modules: [{ ...rest, segments }] })
  return { target, image: { ...whole, table: { ...whole.table, bases }, manifest: { ...whole.manifest, functions } } }
}

describe('an ARM64 process', () => {
  test('is patched over the first instruction of a switch whose table does not lead there, as memory has it', async () => {
    const good = withSwitch([0, 1, 2, 0])
    await applyPatch(open(good.target), good.image)
    expect(decodeWord(wordAt(open(good.target).read(BASE + BigInt(RVA.plain), 4), 0)).form).toBe('b')
    const looping = withSwitch([0, 1, 2, -8])
    await expect(applyPatch(open(looping.target), looping.image)).rejects.toMatchObject({ code: 'REDIRECT_REFUSED' })
  })

  test('is patched with one branch for each function, superseded by pointers, and given back', async () => {
    const target = newTarget()
    const before = snapshot(target)
    const process = open(target)
    const first = await applyPatch(process, patch())
    const imageOf = (report: typeof first): bigint => BigInt(report.mappings.find(({ what }) => what === 'image')?.address ?? 0)
    for (const name of NAMES) expect(follow(process, name)).toBe(imageOf(first) + BigInt(PATCH_RVA[name]))
    // Landing pads stay.
    expect(wordAt(process.read(BASE + BigInt(RVA.padded), 4), 0)).toBe(BTI_C)
    expect(wordAt(process.read(BASE + BigInt(RVA.plain), 4), 0)).toBe(PACIASP)
    const patched = snapshot(target)

    const second = await applyPatch(process, patch(2))
    expect(snapshot(target)).toBe(patched)
    for (const name of NAMES) expect(follow(process, name)).toBe(imageOf(second) + BigInt(PATCH_RVA[name]))
    expect(verifyProcess(process)).toMatchObject({ outcome: 'verified' })

    await rollbackPatch(process)
    expect(snapshot(target)).toBe(before)
  })

  test('is not stopped for functions that begin with a nop, where each may switch on its own', async () => {
    const whole = patch()
    const only = (name: string): PatchImage => ({
      ...whole,
      table: {
        ...whole.table,
        bases: whole.table.bases.map((base) => ({
          ...base,
          chunks: base.chunks.map((c) =>
            c.type === 'FUNCTION' ? { ...c, records: c.records.filter((r) => r.source === RVA[name as 'plain']) } : c,
          ),
        })),
      },
      manifest: { ...whole.manifest, functions: whole.manifest.functions.filter((f) => f.name === name) },
    })
    const stops = async (name: string): Promise<number> => {
      const target = newTarget()
      await applyPatch(open(target), only(name), { consistency: 'function' })
      return target.log.filter(({ kind }) => kind === 'stop').length
    }
    expect(await stops('nopped')).toBe(0)
    expect(await stops('padded')).toBe(1)
  })
})
