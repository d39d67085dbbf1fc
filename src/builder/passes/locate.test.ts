import { describe, expect, it } from 'vitest'
import type { LinkGraph } from '../graph.ts'
import { type BlockSpec, CALL, code, LEA, LOAD, moveImmediate } from '../testing/graphs.ts'
import { as, data, f, leads, names, run } from '../testing/plans.ts'

describe('finding things in the base image', () => {
  const helper = (value: number): BlockSpec => code('helper', moveImmediate(value), [], { binding: 'local' })
  const user = (name: string, value: number): BlockSpec =>
    code(name, [...moveImmediate(value), ...CALL], [{ at: 6, kind: 'branch32', to: 'helper' }])

  it('same-named statics are told apart by their files', () => {
    const before = [as('x/a.o', [helper(1), user('fa', 1)], 'a.c'), as('x/b.o', [helper(2), user('fb', 1)], 'b.c')]
    const after = [before[0] as LinkGraph, as('x/b.o', [helper(2), user('fb', 2)], 'b.c')]
    const { plan, base } = run({ before, after })
    expect(leads(plan, 'fb')).toEqual(['branch32 base helper'])
    const edge = plan?.blocks[0]?.edges[0]
    expect(edge && plan?.resolutions.get(edge)).toEqual({ to: 'base', rva: base.rvaOf('helper', 'x/b.o') })
  })

  it('same-named statics of same-named files with the same code are told apart by who calls them', () => {
    const before = [as('x/u.o', [helper(1), user('fa', 1)], 'u.c'), as('y/u.o', [helper(1), user('fb', 1)], 'u.c')]
    const after = [before[0] as LinkGraph, as('y/u.o', [helper(1), user('fb', 2)], 'u.c')]
    const { plan, base } = run({ before, after })
    const edge = plan?.blocks[0]?.edges[0]
    expect(edge && plan?.resolutions.get(edge)).toEqual({ to: 'base', rva: base.rvaOf('helper', 'y/u.o') })
  })

  it('in a stripped image by their bytes and by what was found', () => {
    const padding = [...moveImmediate(0x1234567), ...moveImmediate(0x2345678), ...moveImmediate(0x3456789)]
    const big = (value: number): BlockSpec =>
      f(
        value,
        [...CALL, ...LEA, ...padding],
        [
          { at: 1, kind: 'branch32', to: 'helper' },
          { at: 8, kind: 'pcrel32', to: 'state' },
        ],
      )
    const rest: BlockSpec[] = [helper(77), { name: 'state', kind: 'bss', content: 4, binding: 'local' }]
    const { plan, base, report } = run({ before: [big(1), ...rest], after: [big(2), ...rest], link: { symbols: 'none' } })
    expect(report.functions[0]?.found).toBe('content')
    expect(plan?.blocks[0]?.edges.map((e) => plan.resolutions.get(e))).toEqual([
      { to: 'base', rva: base.rvaOf('helper') },
      { to: 'base', rva: base.rvaOf('state') },
    ])
  })

  it('relaxed GOT loads count as the same code, and tell where things lie', () => {
    const blocks = (value: number): BlockSpec[] => [
      f(value, [...LOAD], [{ at: 3, kind: 'gotpcrel32', to: 'shared' }]),
      data('shared', [1, 2, 3, 4], { hidden: true }),
    ]
    const { plan } = run({ before: blocks(1), after: blocks(2), link: { relax: true } })
    expect(leads(plan, 'pointer.shared')).toEqual(['abs64 base shared'])
  })

  it('hidden functions of unchanged objects are found through the object that defines them', () => {
    const hidden = as('h.o', [code('internal', moveImmediate(5), [], { hidden: true })])
    const other = as('o.o', [code('internal', moveImmediate(6), [], { binding: 'local' })])
    const changedObject = (value: number) => as('a.o', [f(value, [...CALL], [{ at: 1, kind: 'branch32', to: 'internal' }])])
    const { plan, base } = run({ before: [changedObject(1), hidden, other], after: [changedObject(2), hidden, other] })
    const edge = plan?.blocks[0]?.edges[0]
    expect(edge && plan?.resolutions.get(edge)).toEqual({ to: 'base', rva: base.rvaOf('internal', 'h.o') })
  })

  it('an object that another program of the tree is made of is passed over', () => {
    const mine = (value: number) => as('server/p.o', [f(value)], 'p.c')
    const theirs = (value: number) => as('client/p.o', [f(value, [0x90])], 'p.c')
    const planned = run({ before: [theirs(1), mine(1)], after: [theirs(2), mine(2)], linked: [mine(1)] })
    expect(planned.report.functions.map((x) => x.file)).toEqual(['server/p.o'])
    expect(planned.report.remarks.map((r) => `${r.code} ${r.file}`)).toEqual(['NOT_IN_BASE client/p.o'])
  })

  it('data that changed in another program of the tree stands in nobody’s way', () => {
    const mine = (value: number) => as('server/p.o', [f(value)], 'p.c')
    const theirs = (value: number) => as('client/q.o', [data('limit', [value])], 'q.c')
    expect(names(run({ before: [theirs(1), mine(1)], after: [theirs(2), mine(2)], linked: [mine(1)] }))).toEqual(['f'])
  })

  it('finds nothing to patch where the linker dropped what changed', () => {
    const planned = run({ before: [f(1), code('g', [])], after: [f(2), code('g', [])], link: { dropped: ['f'] } })
    expect(planned.plan).toBeUndefined()
    expect(planned.report.remarks.map((r) => `${r.code} ${r.symbol}`)).toEqual(['NOT_IN_BASE f'])
  })

  it('finds nothing to patch where nothing changed', () => {
    const planned = run({ before: [f(1)], after: [f(1)] })
    expect(planned.plan).toBeUndefined()
    expect(planned.report.diff.outcome).toBe('same')
  })

  it('a static local whose number moved is the one of the base image', () => {
    const uses = (value: number, name: string): BlockSpec[] => [
      f(value, [...LEA], [{ at: 3, kind: 'pcrel32', to: name }]),
      { name, kind: 'bss', content: 4, binding: 'local' },
    ]
    expect(leads(run({ before: uses(1, 'state.4'), after: uses(2, 'state.9') }).plan, 'f')).toEqual(['pcrel32 base state.4'])
  })
})
