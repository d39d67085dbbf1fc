import { describe, expect, it } from 'vitest'
import type { Libraries, NewImport } from '../libraries.ts'
import { type BlockSpec, CALL, CALL_INDIRECT, code, FIELD32, FIELD64, LEA, LOAD, object } from '../testing/graphs.ts'
import type { LinkOptions } from '../testing/link.ts'
import { data, f, leads, names, refusal, run } from '../testing/plans.ts'

const offering = (...imports: [name: string, kind?: NewImport['kind']][]): Libraries => ({
  find: (name) => {
    const found = imports.find(([offered]) => offered === name)
    return found && { name, library: 'libnew.so.1', version: 'NEW_1', kind: found[1] ?? 'function' }
  },
  searched: 'not in libnew.so.1',
})

describe('what the base image does not import, the patch does', () => {
  const planned = (
    edges: BlockSpec['edges'],
    body: readonly number[],
    more: BlockSpec[] = [],
    libraries = offering(['fresh'], ['value', 'data']),
  ) => run({ before: [f(1)], after: [f(1, [...body], edges), ...more], libraries })

  it('a call goes through a jump, a pointer of its own holds the address', () => {
    const result = planned([{ at: 1, kind: 'branch32', to: 'fresh' }], CALL)
    expect(names(result)).toEqual(['f', 'pointer.fresh', 'stub.fresh'])
    expect(leads(result.plan, 'f')).toEqual(['branch32 patch stub.fresh'])
    expect(leads(result.plan, 'stub.fresh')).toEqual(['pcrel32 patch pointer.fresh'])
    expect(leads(result.plan, 'pointer.fresh')).toEqual(['abs64 import libnew.so.1 fresh'])
    expect(result.report.ownImports).toEqual([{ name: 'fresh', library: 'libnew.so.1', version: 'NEW_1' }])
  })

  it('what goes through a pointer takes that of the patch; several uses share it', () => {
    const edges = [
      { at: 2, kind: 'gotpcrel32', to: 'fresh' },
      { at: 9, kind: 'gotpcrel32', to: 'value' },
      { at: 15, kind: 'gotpcrel32', to: 'fresh' },
    ] as const
    const result = planned(edges, [...CALL_INDIRECT, ...LOAD, ...CALL_INDIRECT])
    expect(names(result)).toEqual(['f', 'pointer.fresh', 'pointer.value'])
    expect(leads(result.plan, 'f')).toEqual(['pcrel32 patch pointer.fresh', 'pcrel32 patch pointer.value', 'pcrel32 patch pointer.fresh'])
  })

  it('lea of an address becomes a load of the pointer', () => {
    const { plan } = planned([{ at: 3, kind: 'pcrel32', to: 'value' }], LEA)
    expect(leads(plan, 'f')).toEqual(['pcrel32 patch pointer.value'])
    const { content = new Uint8Array(), edges: [edge] = [] } = plan?.blocks[0] ?? {}
    const at = edge?.offset ?? 0
    expect([...content.subarray(at - 3, at)]).toEqual([LEA[0], 0x8b, LEA[2]])
  })

  it('a pointer in new data is an import itself', () => {
    const more = [data('table', FIELD64, { edges: [{ at: 0, kind: 'abs64', to: 'fresh' }] })]
    expect(leads(planned([{ at: 3, kind: 'pcrel32', to: 'table' }], LEA, more).plan, 'table')).toEqual(['abs64 import libnew.so.1 fresh'])
  })

  it('the address of a function that the base image only calls', () => {
    const edges = [{ at: 3, kind: 'gotpcrel32', to: 'puts' }] as const
    const after = [f(1, [...LOAD], edges)]
    const imports = { puts: 'lazy' } as const
    const { plan } = run({ before: [f(1)], after, link: { imports }, libraries: offering(['puts']) })
    expect(leads(plan, 'f')).toEqual(['pcrel32 patch pointer.puts'])
    expect(refusal({ before: [f(1)], after, link: { imports } })).toEqual(['IMPORT_ADDRESS f'])
  })

  it('a weak reference that a library answers is none to nothing', () => {
    const edges = [{ at: 3, kind: 'gotpcrel32', to: 'fresh', weak: true }] as const
    expect(leads(planned(edges, LOAD).plan, 'pointer.fresh')).toEqual(['abs64 import libnew.so.1 fresh'])
  })

  it('PE: a call through __imp_ takes the slot, a direct one a jump', () => {
    const edges = [
      { at: 2, kind: 'pcrel32', to: '__imp_fresh' },
      { at: 7, kind: 'branch32', to: 'fresh' },
    ] as const
    const after = object({ path: 'a.o', format: 'coff', blocks: [f(1, [...CALL_INDIRECT, ...CALL], edges)] })
    const before = object({ path: 'a.o', format: 'coff', blocks: [f(1)] })
    const { plan } = run({ before: [before], after: [after], link: { format: 'pe' }, libraries: offering(['fresh']) })
    expect(leads(plan, 'f')).toEqual(['pcrel32 patch pointer.__imp_fresh', 'branch32 patch stub.fresh'])
    expect(leads(plan, 'stub.fresh')).toEqual(['pcrel32 patch pointer.__imp_fresh'])
  })

  it('IMPORT_ADDRESS: a variable that is read as if it lay nearby', () => {
    const after = [f(1, [0x8b, 0x05, ...FIELD32], [{ at: 2, kind: 'pcrel32', to: 'value' }])]
    expect(refusal({ before: [f(1)], after, libraries: offering(['value', 'data']) })).toEqual(['IMPORT_ADDRESS f'])
  })
})

describe('imports', () => {
  const calls = (value: number, body: readonly number[], edges: NonNullable<BlockSpec['edges']>) => [f(value, [...body], edges)]

  it('a call goes through a stub and the slot of the base image, also a lazy one', () => {
    const blocks = (value: number) =>
      calls(
        value,
        [...CALL, ...CALL],
        [
          { at: 1, kind: 'branch32', to: 'puts' },
          { at: 6, kind: 'branch32', to: 'puts' },
        ],
      )
    const { plan, report } = run({ before: blocks(1), after: blocks(2), link: { imports: { puts: 'lazy' } } })
    expect(leads(plan, 'f')).toEqual(['branch32 patch stub.puts', 'branch32 patch stub.puts'])
    expect(leads(plan, 'stub.puts')).toEqual(['pcrel32 base slot puts'])
    expect([...(plan?.blocks.find((b) => b.name === 'stub.puts')?.content ?? [])]).toEqual([0xff, 0x25, 0, 0, 0, 0])
    expect(report.imports).toEqual([{ name: 'puts', library: undefined }])
  })

  it('an address is read from an eager slot; a lazy one serves calls only', () => {
    const through = (body: readonly number[], at: number) => (value: number) => calls(value, body, [{ at, kind: 'gotpcrel32', to: 'puts' }])
    const load = through(LOAD, 3)
    const call = through(CALL_INDIRECT, 2)
    const eager: LinkOptions = { imports: { puts: 'eager' } }
    const lazy: LinkOptions = { imports: { puts: 'lazy' } }
    expect(leads(run({ before: load(1), after: load(2), link: eager }).plan, 'f')).toEqual(['pcrel32 base slot puts'])
    expect(leads(run({ before: call(1), after: call(2), link: lazy }).plan, 'f')).toEqual(['pcrel32 base slot puts'])
    expect(refusal({ before: load(1), after: load(2), link: lazy })).toEqual(['IMPORT_ADDRESS f'])
  })

  it('a pointer in new data is copied from the slot', () => {
    const after = [
      f(2, [...LEA], [{ at: 3, kind: 'pcrel32', to: 'hooks' }]),
      data('hooks', FIELD64, { edges: [{ at: 0, kind: 'abs64', to: 'puts' }] }),
    ]
    const { plan } = run({ before: [f(1)], after, link: { imports: { puts: 'eager' } } })
    expect(leads(plan, 'hooks')).toEqual(['abs64 base-pointer slot puts'])
  })

  it("COFF's __imp_ names are the slots themselves", () => {
    const coff = (value: number) => [
      object({ path: 'a.obj', format: 'coff', blocks: calls(value, CALL_INDIRECT, [{ at: 2, kind: 'pcrel32', to: '__imp_Sleep' }]) }),
    ]
    const { plan, report } = run({ before: coff(1), after: coff(2), link: { format: 'pe', imports: { Sleep: 'eager' } } })
    expect(leads(plan, 'f')).toEqual(['pcrel32 base slot Sleep'])
    expect(report.imports).toEqual([{ name: 'Sleep', library: 'lib.dll' }])
  })

  it('a function that another module may replace is reached as the base image reaches it', () => {
    const blocks = (value: number): BlockSpec[] => [
      f(
        value,
        [...CALL, ...LOAD],
        [
          { at: 1, kind: 'branch32', to: 'api' },
          { at: 8, kind: 'gotpcrel32', to: 'api' },
        ],
      ),
      code('api', []),
    ]
    const { plan } = run({ before: blocks(1), after: blocks(2), link: { exported: ['api'], imports: { api: 'eager' } } })
    expect(leads(plan, 'f')).toEqual(['branch32 patch stub.api', 'pcrel32 base slot api'])
  })

  it('a weak function that nobody defines has the address zero', () => {
    const blocks = (value: number) => calls(value, LOAD, [{ at: 3, kind: 'gotpcrel32', to: 'maybe', weak: true }])
    const { plan } = run({ before: blocks(1), after: blocks(2) })
    expect(leads(plan, 'f')).toEqual(['pcrel32 patch pointer.maybe'])
    expect(leads(plan, 'pointer.maybe')).toEqual([])
  })
})
