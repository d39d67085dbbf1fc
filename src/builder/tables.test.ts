import { describe, expect, it } from 'vitest'
import { viewOf } from '../binary/struct.ts'
import { encodeHotPatchTable } from '../patch/encode.ts'
import { manifestSchema } from '../patch/manifest.ts'
import { validateHotPatchTable } from '../patch/validate.ts'
import { buildPlan } from './build-plan.ts'
import { fixUp } from './fixups.ts'
import type { Block } from './graph.ts'
import type { PatchPlan } from './plan.ts'
import { manifestFor, tableFor } from './tables.ts'
import { CALL, code, FIELD32, FIELD64, LEA, moveImmediate, object, PROLOGUE, program } from './testing/graphs.ts'
import { link } from './testing/link.ts'

/** A plan with one reference of each kind that a patch image can hold. */
function example(): { plan: PatchPlan; rvaOf: (block: Block) => number; named: (name: string) => Block; base: ReturnType<typeof link> } {
  const side = (v: number) => [
    object({
      path: 'a.o',
      blocks: [
        code(
          'f',
          [...moveImmediate(v), ...CALL, ...LEA, 0x80, 0x3d, ...FIELD32, 1, 0xbf, ...FIELD32],
          [
            { at: 6, kind: 'branch32', to: 'g' },
            { at: 13, kind: 'pcrel32', to: 'hooks' },
            // cmp byte [rip+flag], 1: the field ends one byte before its instruction.
            { at: 19, kind: 'pcrel32', to: 'flag', addend: -5 },
            { at: 25, kind: 'abs32', to: 'flag', addend: 2 },
          ],
        ),
        code('g', []),
        { name: 'flag', kind: 'data', content: [1, 0, 0, 0] },
        ...(v === 1 ? [{ name: 'hooks', kind: 'bss' as const, content: 8, binding: 'local' as const }] : []),
        ...(v === 2
          ? [
              {
                name: 'hooks',
                kind: 'rodata' as const,
                anonymous: true,
                content: [...FIELD64, ...FIELD64, ...FIELD64, ...FIELD32],
                edges: [
                  { at: 0, kind: 'abs64' as const, to: 'g' },
                  { at: 8, kind: 'abs64' as const, to: 'puts' },
                  { at: 16, kind: 'abs64' as const, to: 'hooks', addend: 8 },
                  { at: 24, kind: 'pcrel32' as const, to: 'f', addend: 24 },
                ],
              },
            ]
          : []),
      ],
    }),
  ]
  const before = side(1)
  const base = link(before, { imports: { puts: 'eager' }, relocatable: false })
  const { plan } = buildPlan(program(before, side(2)), base, { sequence: 7, id: 'x', description: 'd', cves: ['CVE-2023-0809'] })
  if (plan === undefined) throw new Error('no plan')
  const rvas = new Map<Block, number>()
  let at = 0x1000
  for (const block of plan.blocks) {
    rvas.set(block, at)
    at += 0x1000
  }
  const named = (name: string) => plan.blocks.find((b) => b.name === name) as Block
  return { plan, rvaOf: (block) => rvas.get(block) as number, named, base }
}

describe('the table of a plan', () => {
  const { plan, rvaOf, named, base } = example()
  const table = tableFor(plan, rvaOf)
  const records = (type: string) => table.bases[0]?.chunks.filter((c) => c.type === type).flatMap((c) => c.records)
  const f = rvaOf(named('f')) + PROLOGUE.length
  const hooks = rvaOf(named('hooks'))

  it('redirects the old function, with the bytes that stand there', () => {
    expect(records('FUNCTION')).toEqual([{ source: base.rvaOf('f'), target: rvaOf(named('f')), extras: [0xe5894855] }])
  })

  it('has one record for each field that leads to the base image', () => {
    expect(records('REL32')).toEqual([
      { source: f + 6, target: base.rvaOf('g'), extras: [0] },
      // The field counts from its end, the instruction ends one byte later.
      { source: f + 19, target: base.rvaOf('flag') - 1, extras: [0] },
    ])
    expect(records('ABSOLUTE32')).toEqual([{ source: f + 25, target: base.rvaOf('flag') + 2, extras: [0] }])
    expect(records('ABSOLUTE')).toEqual([{ source: hooks, target: base.rvaOf('g'), extras: [0] }])
    expect(records('INDIRECT')).toEqual([{ source: hooks + 8, target: base.importSlots[0]?.rva, extras: [0] }])
  })

  it('is one that the engine accepts', () => {
    const segments = plan.blocks.map((b) => ({
      rva: rvaOf(b),
      size: 0x1000,
      protection: b.kind === 'code' ? ('rx' as const) : ('r' as const),
    }))
    const relativeRelocations = fixUp(plan, rvaOf).relative.map(({ block, offset }) => ({ rva: rvaOf(block) + offset }))
    validateHotPatchTable(table, { machine: 'x64', segments, relativeRelocations, imports: [], baseImageSize: base.imageSize })
    expect(encodeHotPatchTable(table).length).toBeGreaterThan(0)
    expect(table).toMatchObject({ version: 3, extraPatchSize: 1, sequenceNumber: 7 })
    expect(table.bases[0]).toMatchObject({ originalTimeDateStamp: 0x11223344, originalCheckSum: 0x55667788, flags: 3 | (2 << 2) })
    expect(Buffer.from(table.bases[0]?.hashes?.sha1 ?? []).toString('hex')).toBe(base.identity.buildId)
  })

  it('goes with a manifest that says the same', () => {
    const manifest = manifestSchema().parse(manifestFor(plan, rvaOf))
    expect(manifest.functions).toMatchObject([{ name: 'f', rva: base.rvaOf('f'), patchRva: rvaOf(named('f')), redirect: 'first-bytes' }])
    expect(manifest.imports).toEqual([{ name: 'puts' }])
  })

  it('splits chunks at 4095 records', () => {
    const [first] = plan.functions
    if (first === undefined) throw new Error('no function')
    const many = { ...plan, functions: Array.from({ length: 5000 }, (_, i) => ({ ...first, rva: 5000 - i })) }
    const chunks = tableFor(many, rvaOf).bases[0]?.chunks.filter((c) => c.type === 'FUNCTION') ?? []
    expect(chunks.map((c) => c.records.length)).toEqual([4095, 905])
    const sources = chunks.flatMap((c) => c.records.map((r) => r.source))
    expect(sources).toEqual([...sources].sort((a, b) => a - b))
  })
})

describe('fixups', () => {
  const { plan, rvaOf, named } = example()
  const fixed = fixUp(plan, rvaOf)

  it('fill in what lies within the patch image and leave the rest zero', () => {
    const f = viewOf(fixed.contents.get(named('f')) as Uint8Array)
    const at = PROLOGUE.length
    expect(f.getInt32(at + 13, true)).toBe(rvaOf(named('hooks')) - (rvaOf(named('f')) + at + 13 + 4))
    expect([f.getInt32(at + 6, true), f.getInt32(at + 19, true), f.getInt32(at + 25, true)]).toEqual([0, 0, 0])
    const hooks = viewOf(fixed.contents.get(named('hooks')) as Uint8Array)
    expect(hooks.getInt32(24, true)).toBe(rvaOf(named('f')) - rvaOf(named('hooks')))
  })

  it('list the fields that hold an address of the patch image', () => {
    expect(fixed.relative).toEqual([{ block: named('hooks'), offset: 16, addend: rvaOf(named('hooks')) + 8 }])
  })

  it('do not change the plan', () => {
    const content = named('f').content as Uint8Array
    expect(viewOf(content).getInt32(PROLOGUE.length + 13, true)).toBe(0)
  })
})
