import { describe, expect, it } from 'vitest'
import type { PatchPlan } from '../plan.ts'
import { manifestFor, tableFor } from '../tables.ts'
import { type BlockSpec, CALL, code, FIELD32, FIELD64, LEA, LOAD, moveImmediate, object } from '../testing/graphs.ts'
import { as, data, f, leads, names, refusal, run, table } from '../testing/plans.ts'

describe('what travels and where references lead', () => {
  it('a changed function travels, what it calls and reads stays in the base image', () => {
    const rest = [code('g', [], [], { binding: 'local' }), data('v', [1, 0, 0, 0], { binding: 'local' })]
    const edges = [
      { at: 1, kind: 'branch32', to: 'g' },
      { at: 8, kind: 'pcrel32', to: 'v' },
    ] as const
    const planned = run({ before: [f(1, [...CALL, ...LEA], edges), ...rest], after: [f(2, [...CALL, ...LEA], edges), ...rest] })
    expect(names(planned)).toEqual(['f'])
    expect(leads(planned.plan, 'f')).toEqual(['branch32 base g', 'pcrel32 base v'])
    expect(planned.report.functions).toMatchObject([
      { name: 'f', file: 'a.o', rva: planned.base.rvaOf('f'), found: 'symbol', redirect: 'first-bytes' },
    ])
  })

  it('a new function, new data and literals travel with it', () => {
    const before = [f(1)]
    const after = [
      f(
        1,
        [...CALL, ...LEA, ...LEA],
        [
          { at: 1, kind: 'branch32', to: 'fresh' },
          { at: 8, kind: 'pcrel32', to: 'text' },
          { at: 15, kind: 'pcrel32', to: 'counter' },
        ],
      ),
      code('fresh', LEA, [{ at: 3, kind: 'pcrel32', to: 'pointers' }], { binding: 'local' }),
      table('text', 'hello', { anonymous: true, constant: 'strings' }),
      { name: 'counter', kind: 'bss', content: 4, binding: 'local' } as BlockSpec,
      data('pointers', FIELD64, { edges: [{ at: 0, kind: 'abs64', to: 'text' }], binding: 'local' }),
    ]
    const planned = run({ before, after })
    expect(names(planned)).toEqual(['f', 'fresh', 'text', 'counter', 'pointers'])
    expect(leads(planned.plan, 'pointers')).toEqual(['abs64 patch text'])
    expect(planned.report.added).toEqual([
      { name: 'fresh', kind: 'function', size: 13 },
      { name: 'counter', kind: 'data', size: 4 },
      { name: 'pointers', kind: 'data', size: 8 },
    ])
  })

  it('the callback travels with what it needs, though nobody refers to it', () => {
    const callout = code('__PatchMainCallout__', CALL, [{ at: 1, kind: 'branch32', to: 'helper' }])
    const { plan } = run({ before: [f(1)], after: [f(2), callout, code('helper', moveImmediate(7), [], { binding: 'local' })] })
    expect(plan?.blocks.map((b) => b.name)).toEqual(['f', '__PatchMainCallout__', 'helper'])
    expect(manifestFor(plan as PatchPlan, (block) => 0x1000 * (1 + (plan?.blocks.indexOf(block) ?? 0)))).toMatchObject({
      callout: 0x2000,
      added: [{ name: '__PatchMainCallout__' }, { name: 'helper' }],
    })
  })

  it('a static function of that name is none, and without a changed function there is no patch to call back', () => {
    const callout = (binding: 'local' | 'global') => code('__PatchMainCallout__', moveImmediate(1), [], { binding })
    const { plan } = run({ before: [f(1)], after: [f(2), callout('local')] })
    expect([plan?.callout, plan?.blocks.map((b) => b.name)]).toEqual([undefined, ['f']])
    expect(run({ before: [f(1)], after: [f(1), callout('global')] }).plan).toBeUndefined()
  })

  it('a call of a changed function goes to the new one, its address is that of the old one', () => {
    const user = (value: number) =>
      code(
        'user',
        [...moveImmediate(value), ...CALL, ...LEA, ...LOAD],
        [
          { at: 6, kind: 'branch32', to: 'f' },
          { at: 13, kind: 'pcrel32', to: 'f' },
          { at: 20, kind: 'gotpcrel32', to: 'f' },
        ],
      )
    const { plan } = run({ before: [f(1), user(1)], after: [f(2), user(2)] })
    expect(leads(plan, 'user')).toEqual(['branch32 patch f', 'pcrel32 base f', 'pcrel32 patch pointer.f'])
    expect(leads(plan, 'pointer.f')).toEqual(['abs64 base f'])
  })

  it('across objects too', () => {
    const user = (value: number) =>
      as('b.o', [
        code(
          'user',
          [...moveImmediate(value), ...CALL, ...LEA],
          [
            { at: 6, kind: 'branch32', to: 'f' },
            { at: 13, kind: 'pcrel32', to: 'f' },
          ],
        ),
      ])
    const { plan } = run({ before: [as('a.o', [f(1)]), user(1)], after: [as('a.o', [f(2)]), user(2)] })
    expect(leads(plan, 'user')).toEqual(['branch32 patch f', 'pcrel32 base f'])
  })

  it('what another module of the same tree defines is reached through its slot: a copy would have variables of its own', () => {
    const library = (n: number) =>
      as('library.o', [
        { name: 'state', kind: 'data', content: [1, 0, 0, 0] },
        code('kept', [...LEA], [{ at: 3, kind: 'pcrel32', to: 'state' }]),
        code('changed', [...moveImmediate(n), ...LEA], [{ at: 8, kind: 'pcrel32', to: 'state' }]),
      ])
    const main = (n: number) =>
      as('main.o', [
        code(
          'f',
          [...moveImmediate(n), ...CALL, ...CALL],
          [
            { at: 6, kind: 'branch32', to: 'kept' },
            { at: 11, kind: 'branch32', to: 'changed' },
          ],
        ),
      ])
    const { plan, report } = run({
      before: [library(1), main(1)],
      after: [library(2), main(2)],
      linked: [main(1)],
      link: { imports: { kept: 'eager', changed: 'eager' } },
    })
    expect(plan?.functions.map((f) => f.name)).toEqual(['f'])
    expect(plan?.blocks.map((b) => b.name).filter((name) => ['kept', 'changed', 'state'].includes(name))).toEqual([])
    expect(report.imports.map(({ name }) => name).sort()).toEqual(['changed', 'kept'])
  })

  it('recursion stays in the new function, a pointer to itself does not', () => {
    const self = (value: number) =>
      f(
        value,
        [...CALL, ...LEA],
        [
          { at: 1, kind: 'branch32', to: 'f' },
          { at: 8, kind: 'pcrel32', to: 'f' },
        ],
      )
    expect(leads(run({ before: [self(1)], after: [self(2)] }).plan, 'f')).toEqual(['branch32 patch f', 'pcrel32 base f'])
  })

  it('the cold part of a function travels with it and leads back into it', () => {
    const blocks = (value: number): BlockSpec[] => [
      f(value, [0x0f, 0x84, ...FIELD32], [{ at: 2, kind: 'branch32', to: 'f.cold', addend: 3 - 4 }]),
      code('f.cold', [0xe9, ...FIELD32], [{ at: 1, kind: 'branch32', to: 'f', addend: 12 - 4 }], { binding: 'local' }),
    ]
    const planned = run({ before: blocks(1), after: blocks(2) })
    expect(names(planned)).toEqual(['f', 'f.cold'])
    expect(planned.plan?.functions.map((x) => x.name)).toEqual(['f'])
    expect(leads(planned.plan, 'f.cold')).toEqual(['branch32 patch f'])
  })

  it('a jump table travels and leads into the new function, a table of pointers to it into the base image', () => {
    const blocks = (value: number): BlockSpec[] => [
      f(
        value,
        [...LEA, ...LEA],
        [
          { at: 3, kind: 'pcrel32', to: 'jumps' },
          { at: 10, kind: 'pcrel32', to: 'calls' },
        ],
      ),
      table('jumps', [...FIELD32, ...FIELD32], {
        anonymous: true,
        edges: [
          { at: 0, kind: 'pcrel32', to: 'f', addend: 9 },
          { at: 4, kind: 'pcrel32', to: 'f', addend: 20 },
        ],
      }),
      table('calls', FIELD64, { anonymous: true, edges: [{ at: 0, kind: 'abs64', to: 'f' }] }),
    ]
    const { plan } = run({ before: blocks(1), after: blocks(2) })
    expect(leads(plan, 'jumps')).toEqual(['pcrel32 patch f', 'pcrel32 patch f'])
    expect(leads(plan, 'calls')).toEqual(['abs64 base f'])
  })

  it('unwind records come along', () => {
    const blocks = (value: number): BlockSpec[] => [
      f(value, [], [], { companions: ['fde'] }),
      {
        name: 'fde',
        kind: 'unwind',
        anonymous: true,
        content: new Uint8Array(16),
        edges: [
          { at: 0, kind: 'cie32', to: 'cie' },
          { at: 4, kind: 'pcrel32', to: 'f' },
        ],
      },
      { name: 'cie', kind: 'unwind', anonymous: true, content: new Uint8Array(16) },
    ]
    const { plan } = run({ before: blocks(1), after: blocks(2) })
    expect(plan?.blocks.map((b) => b.name)).toEqual(['f', 'fde', 'cie'])
    const fde = plan?.blocks[1]
    expect(plan?.blocks[0]?.companions).toEqual([fde])
    expect(fde?.edges[0]?.target.block).toBe(plan?.blocks[2])
    expect(leads(plan, 'fde')).toEqual(['cie32 nowhere', 'pcrel32 patch f'])
  })

  it('an exception table and the pointers in it come along; clang writes them into .data without a name', () => {
    const blocks = (value: number): BlockSpec[] => [
      f(value, [], [], { companions: ['fde'] }),
      {
        name: 'fde',
        kind: 'unwind',
        anonymous: true,
        content: new Uint8Array(16),
        edges: [
          { at: 4, kind: 'pcrel32', to: 'f' },
          { at: 8, kind: 'pcrel32', to: 'lsda' },
        ],
      },
      table('lsda', FIELD32, {
        anonymous: true,
        section: '.gcc_except_table.f',
        edges: [{ at: 0, kind: 'pcrel32', to: 'stubs', addend: 8 * (value - 1) }],
      }),
      data('stubs', value === 1 ? FIELD64 : [...FIELD64, ...FIELD64], {
        anonymous: true,
        edges: [{ at: 0, kind: 'abs64', to: 'A' }, ...(value === 1 ? [] : [{ at: 8, kind: 'abs64' as const, to: 'B' }])],
      }),
    ]
    const { plan } = run({ before: blocks(1), after: blocks(2), link: { imports: { A: 'eager', B: 'eager' } } })
    expect(leads(plan, 'lsda')).toEqual(['pcrel32 patch stubs'])
    expect(leads(plan, 'stubs')).toEqual(['abs64 base-pointer slot A', 'abs64 base-pointer slot B'])
  })

  it("pointers for unwind tables are the base image's own where it has them", () => {
    const blocks = (value: number): BlockSpec[] => [
      f(value, [...LEA], [{ at: 3, kind: 'pcrel32', to: 'DW.ref.personality' }]),
      data('DW.ref.personality', FIELD64, {
        hidden: true,
        comdat: 'DW.ref.personality',
        edges: [{ at: 0, kind: 'abs64', to: 'personality' }],
      }),
    ]
    const { plan } = run({ before: blocks(1), after: blocks(2), link: { imports: { personality: 'lazy' } } })
    expect(leads(plan, 'f')).toEqual(['pcrel32 base DW.ref.personality'])
  })

  it('an exception handler of the base image is reached through a jump: RVAs count from the patch image', () => {
    const blocks = (value: number): BlockSpec[] => [
      f(value, [], [], { companions: ['xdata'] }),
      { name: 'xdata', kind: 'unwind', anonymous: true, content: new Uint8Array(8), edges: [{ at: 4, kind: 'image32', to: 'handler' }] },
      code('handler', []),
    ]
    const side = (value: number) => [object({ path: 'a.obj', format: 'coff', blocks: blocks(value) })]
    const { plan } = run({ before: side(1), after: side(2), link: { format: 'pe' } })
    expect(leads(plan, 'xdata')).toEqual(['image32 patch stub.handler'])
    expect(leads(plan, 'stub.handler')).toEqual(['branch32 base handler'])
    expect([...(plan?.blocks.find((b) => b.name === 'stub.handler')?.content ?? [])]).toEqual([0xe9, 0, 0, 0, 0])
  })

  it('of an inline function in many objects one copy travels', () => {
    const inline = (value: number) => code('inl', moveImmediate(value), [], { binding: 'weak', comdat: 'inl' })
    const user = (name: string, value: number) => code(name, [...moveImmediate(value), ...CALL], [{ at: 6, kind: 'branch32', to: 'inl' }])
    const side = (v: number) => [as('a.o', [user('fa', v), inline(v)]), as('b.o', [user('fb', v), inline(v)])]
    const planned = run({ before: side(1), after: side(2) })
    expect(names(planned).sort()).toEqual(['fa', 'fb', 'inl'])
    expect(planned.plan?.functions.length).toBe(3)
  })

  it('pieces that keep their distance travel as one block', () => {
    const piece = (name: string, content: number[], alignment: number): BlockSpec =>
      table(name, content, { anonymous: true, group: 'g', alignment })
    const blocks = (value: number): BlockSpec[] => [
      f(value, [...LEA], [{ at: 3, kind: 'pcrel32', to: 'p2' }]),
      piece('p1', [1, 2, 3], 1),
      piece('p2', [4, 5, 6, 7, 8], 1),
      piece('p3', [9, 10, 11, 12, 13, 14, 15, 16], 8),
    ]
    const { plan } = run({ before: blocks(1), after: blocks(2) })
    const [joined] = plan?.blocks.filter((b) => b.kind === 'rodata') ?? []
    expect([...(joined?.content ?? [])]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
    expect(joined?.alignment).toBe(8)
    expect(leads(plan, 'f')).toEqual(['pcrel32 patch p1+3'])
  })

  it('named constants stay in the base image when they are the same, and travel when only changed functions use them', () => {
    const blocks = (value: number, entry: number): BlockSpec[] => [
      f(
        value,
        [...LEA, ...LEA],
        [
          { at: 3, kind: 'pcrel32', to: 'same' },
          { at: 10, kind: 'pcrel32', to: 'other' },
        ],
      ),
      table('same', [1, 2, 3]),
      table('other', [entry]),
    ]
    expect(refusal({ before: blocks(1, 1), after: blocks(1, 2) })).toEqual(['RODATA_CHANGED other'])
    const both = run({ before: blocks(1, 1), after: blocks(2, 2) })
    expect(leads(both.plan, 'f')).toEqual(['pcrel32 base same', 'pcrel32 patch other'])
  })
})

describe('programs that are not position-independent', () => {
  it('reach what the patch brings by a 32-bit address, which the table has a record for', () => {
    const f = (value: number, body: number[] = [], edges: BlockSpec['edges'] = []): BlockSpec =>
      code('f', [...moveImmediate(value), ...body], edges)
    const text: BlockSpec = { name: 'text', kind: 'rodata', content: [0x78, 0], binding: 'local', anonymous: true, constant: 'strings' }
    const after = [f(2, [0xbf, ...FIELD32], [{ at: moveImmediate(2).length + 1, kind: 'abs32', to: 'text', addend: 0 }]), text]
    const { plan } = run({ before: [f(1)], after, link: { relocatable: false } })
    const [chunk] = tableFor(plan as PatchPlan, () => 0x2000).bases[0]?.chunks.filter(({ type }) => type === 'OWN_ABSOLUTE32') ?? []
    expect(chunk).toMatchObject({ inverse: true, records: [{ target: 0x2000 }] })
  })
})
