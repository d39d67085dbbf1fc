import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../errors.ts'
import { buildPlan, type Planned } from './build-plan.ts'
import type { LinkGraph } from './graph.ts'
import type { Libraries, NewImport } from './libraries.ts'
import type { PatchPlan, Resolution } from './plan.ts'
import type { Reason } from './reasons.ts'
import { manifestFor, tableFor } from './tables.ts'
import {
  type BlockSpec,
  CALL,
  CALL_INDIRECT,
  code,
  FIELD32,
  FIELD64,
  LEA,
  LOAD,
  moveImmediate,
  object,
  PROLOGUE,
  program,
} from './testing/graphs.ts'
import { type LinkOptions, link } from './testing/link.ts'

const naming = { sequence: 1, id: 'test-1', description: '', cves: [] }
const as = (path: string, blocks: BlockSpec[], sourceFile?: string): LinkGraph =>
  object({ path, blocks, ...(sourceFile === undefined ? {} : { sourceFile }) })

interface Case {
  readonly before: BlockSpec[] | LinkGraph[]
  readonly after: BlockSpec[] | LinkGraph[]
  readonly link?: LinkOptions
  /** What the base image was linked from, where it is not `before`. */
  readonly linked?: LinkGraph[]
  readonly libraries?: Libraries
}

const isGraphs = (side: BlockSpec[] | LinkGraph[]): side is LinkGraph[] => side.some((x) => 'blocks' in x)
const graphs = (side: BlockSpec[] | LinkGraph[]): LinkGraph[] => (isGraphs(side) ? side : [as('a.o', side)])

function run({ before, after, link: options, linked, libraries }: Case): Planned & { base: ReturnType<typeof link> } {
  const b = graphs(before)
  const base = link(linked ?? b, options)
  return { ...buildPlan(program(b, graphs(after)), base, naming, [], libraries), base }
}

function refusal(c: Case): string[] {
  try {
    run(c)
  } catch (error) {
    if (!(error instanceof HotpatchError) || error.code !== 'REFUSED') throw error
    expect(error.exit).toBe(3)
    return (error.facts.reasons as Reason[]).map((r) => `${r.code} ${r.symbol}`)
  }
  throw new Error('not refused')
}

/** Where the edges of a planned block lead, in words. */
function leads(plan: PatchPlan | undefined, name: string): string[] {
  const block = plan?.blocks.find((b) => b.name === name)
  if (plan === undefined || block === undefined) throw new Error(`${name} does not travel`)
  return block.edges.map((edge) => `${edge.kind} ${inWords(plan.resolutions.get(edge), plan)}`)
}
function inWords(resolution: Resolution | undefined, plan: PatchPlan): string {
  if (resolution === undefined) return 'nowhere'
  if (resolution.to === 'import') return `import ${resolution.import.library} ${resolution.import.name}`
  if (resolution.to === 'patch') return `patch ${resolution.block.name}${resolution.offset === 0 ? '' : `+${resolution.offset}`}`
  const symbol = plan.base.symbols.find((s) => s.rva === resolution.rva)
  const slot = plan.base.importSlots.find((s) => s.rva === resolution.rva)
  return `${resolution.to} ${slot ? `slot ${slot.name}` : (symbol?.name ?? resolution.rva)}`
}
const names = ({ plan }: Planned): string[] => plan?.blocks.map((b) => b.name) ?? []

const f = (value: number, body: number[] = [], edges: BlockSpec['edges'] = [], rest: Partial<BlockSpec> = {}): BlockSpec =>
  code('f', [...moveImmediate(value), ...body], edges?.map((e) => ({ ...e, at: e.at + 5 })) ?? [], rest)
const data = (name: string, content: BlockSpec['content'], rest: Partial<BlockSpec> = {}): BlockSpec => ({
  name,
  kind: 'data',
  content,
  ...rest,
})
const table = (name: string, content: BlockSpec['content'], rest: Partial<BlockSpec> = {}): BlockSpec => ({
  name,
  kind: 'rodata',
  content,
  ...rest,
})

describe('functions that are only right together', () => {
  const calls = (value: number, to: string): BlockSpec => f(value, [...CALL], [{ at: 1, kind: 'branch32', to }])
  const g = (value: number): BlockSpec => code('g', moveImmediate(value))
  const together = (before: Case['before'], after: Case['after']) => run({ before, after }).plan?.atOneInstant

  it('are those that call each other and were compiled together, where both change', () => {
    expect(together([calls(1, 'g'), g(1)], [calls(2, 'g'), g(2)])).toBe(true)
    expect(together([calls(1, 'g'), g(1)], [calls(2, 'g'), g(1)])).toBe(false)
    expect(together([calls(1, 'g'), g(1)], [calls(1, 'g'), g(2)])).toBe(false)
  })

  it('are not those that do not, that call only themselves, or that were compiled apart', () => {
    expect(together([f(1), g(1)], [f(2), g(2)])).toBe(false)
    expect(together([calls(1, 'f')], [calls(2, 'f')])).toBe(false)
    const apart = (value: number) => [as('a.o', [calls(value, 'g')]), as('b.o', [g(value)])]
    expect(together(apart(1), apart(2))).toBe(false)
  })
})

describe('exports that are gone', () => {
  const gone = (isProgram: boolean): Case => ({
    before: [f(1), code('gone', [0xc3])],
    after: [f(2)],
    link: { exported: ['gone'], isProgram },
  })
  it('are refused of a library and noted of a program', () => {
    expect(refusal(gone(false))).toEqual(['EXPORT_CHANGED gone'])
    expect(run(gone(true)).report.remarks.map((r) => `${r.code} ${r.symbol}`)).toContain('EXPORT_REMOVED gone')
  })
})

describe('thread-local variables of the base image', () => {
  const GD = [0x66, 0x48, 0x8d, 0x3d, ...FIELD32, 0x66, 0x66, 0x48, 0xe8, ...FIELD32]
  const general: BlockSpec['edges'] = [
    { at: 4, kind: 'tlsgd32', to: 'mine' },
    { at: 12, kind: 'branch32', to: '__tls_get_addr' },
  ]
  const MOVE = [0x64, 0x8b, 0x04, 0x25, ...FIELD32]
  const others: BlockSpec[] = [
    { name: 'theirs', kind: 'tls', content: [1, 2, 3, 4] },
    { name: 'mine', kind: 'tls', content: [5, 6, 7, 8] },
  ]
  const planned = (body: number[], edges: BlockSpec['edges'], options: LinkOptions) => {
    const side = (v: number) => [f(v, body, edges), ...others]
    return run({ before: side(1), after: side(2), link: { imports: { __tls_get_addr: 'lazy' }, ...options } })
  }
  const bytesOf = ({ plan }: Planned): string => Buffer.from(plan?.blocks[0]?.content?.subarray(9) ?? []).toString('hex')
  const inProgram: LinkOptions = { isProgram: true, threadLocal: { fromThreadPointer: -16 } }

  it('a program: by their distance from the thread pointer, without a call', () => {
    const result = planned(GD, general, inProgram)
    expect(leads(result.plan, 'f')).toEqual([])
    expect(bytesOf(result)).toMatch(/^64488b042500000000488d80f8ffffff/)
  })

  it('a program: initial exec loads the distance from a pointer of the patch', () => {
    const result = planned([...LOAD], [{ at: 3, kind: 'gottpoff32', to: 'mine' }], inProgram)
    expect(leads(result.plan, 'f')).toEqual(['pcrel32 patch pointer.mine'])
    expect(Buffer.from(result.plan?.blocks[1]?.content ?? []).readBigInt64LE()).toBe(-8n)
  })

  it("a library: a pair of the patch's own with the number of the library's module", () => {
    const slots = [{ holds: 'module', rva: 0xf900, name: undefined, offset: undefined }] as const
    const result = planned(GD, general, { threadLocal: { slots } })
    expect(leads(result.plan, 'f')).toEqual(['pcrel32 patch pair.mine', 'branch32 patch stub.__tls_get_addr'])
    expect(leads(result.plan, 'pair.mine')).toEqual([`abs64 base-pointer ${0xf900}`])
    const pair = result.plan?.blocks.find((b) => b.name === 'pair.mine')
    expect(Buffer.from(pair?.content ?? []).readBigInt64LE(8)).toBe(8n)
  })

  it('a library that has its distance in a slot alone: the call is left out', () => {
    const slots = [{ holds: 'distance', rva: 0xf900, name: undefined, offset: 8 }] as const
    const result = planned(GD, general, { threadLocal: { slots } })
    expect(leads(result.plan, 'f')).toEqual([`pcrel32 base ${0xf900}`])
    expect(bytesOf(result)).toMatch(/^64488b04250000000048030500000000/)
  })

  it("another module's, through the slot for its name", () => {
    const slots = [{ holds: 'pair', rva: 0xf900, name: 'mine', offset: undefined }] as const
    const side = (v: number) => [f(v, GD, general)]
    const options: LinkOptions = { imports: { __tls_get_addr: 'lazy' }, threadLocal: { slots } }
    const { plan } = run({ before: side(1), after: side(2), link: options })
    expect(leads(plan, 'f')).toEqual([`pcrel32 base ${0xf900}`, 'branch32 patch stub.__tls_get_addr'])
  })

  it('is refused where nothing leads to it, and where another module may have taken its place', () => {
    const library = (v: number): BlockSpec[] => [f(v, MOVE, [{ at: 4, kind: 'tpoff32', to: 'mine' }]), ...others]
    expect(refusal({ before: library(1), after: library(2) })).toEqual(['TLS_UNSUPPORTED f'])
    const slots = [{ holds: 'module', rva: 0xf900, name: undefined, offset: undefined }] as const
    const side = (v: number) => [f(v, GD, general), ...others]
    const options: LinkOptions = { imports: { __tls_get_addr: 'lazy' }, exported: ['mine'], threadLocal: { slots } }
    expect(refusal({ before: side(1), after: side(2), link: options })).toEqual(['TLS_UNSUPPORTED f'])
  })

  it('is refused where the code of the base image has it elsewhere', () => {
    const side = (v: number): BlockSpec[] => [f(v, MOVE, [{ at: 4, kind: 'tpoff32', to: 'mine' }]), ...others]
    // What the linker for tests leaves in the field is 0.
    expect(refusal({ before: side(1), after: side(2), link: inProgram })).toEqual(['SYMBOL_AMBIGUOUS f'])
  })

  it('Windows: by the distance from the start of the section; a new one is refused', () => {
    // add secrel(%rdx), %ecx
    const uses = (v: number, to: string): BlockSpec => f(v, [0x03, 0x8a, ...FIELD32], [{ at: 2, kind: 'secrel32', to }])
    const coff = (blocks: BlockSpec[]): LinkGraph[] => [object({ path: 'a.o', format: 'coff', blocks })]
    const side = (v: number) => coff([uses(v, 'mine'), ...others])
    const result = run({ before: side(1), after: side(2), link: { format: 'pe' } })
    expect(leads(result.plan, 'f')).toEqual([])
    expect(bytesOf(result)).toMatch(/^038a08000000/)
    const fresh: BlockSpec = { name: 'fresh', kind: 'tls', content: 8 }
    const after = coff([uses(2, 'fresh'), ...others, fresh])
    expect(refusal({ before: side(1), after, link: { format: 'pe' } }).sort()).toEqual(['TLS_CHANGED fresh', 'TLS_UNSUPPORTED f'])
  })

  it('a new one is refused', () => {
    const uses = (to: string): BlockSpec => f(1, [...LOAD], [{ at: 3, kind: 'gottpoff32', to }])
    const fresh: BlockSpec = { name: 'fresh', kind: 'tls', content: 8 }
    expect(refusal({ before: [uses('mine'), ...others], after: [uses('fresh'), ...others, fresh], link: inProgram })).toContain(
      'TLS_CHANGED fresh',
    )
  })
})

/** A library of the building machine. */
const offering = (...imports: [name: string, kind?: NewImport['kind']][]): Libraries => ({
  find: (name) => {
    const found = imports.find(([offered]) => offered === name)
    return found && { name, library: 'libnew.so.1', version: 'NEW_1', kind: found[1] ?? 'function' }
  },
  searched: 'not in libnew.so.1',
})

describe('a constant that became state', () => {
  const SEED = 0x432a9843
  const seed = (more: Partial<BlockSpec> = {}) => data('seed', [0, 0, 0, 0], { binding: 'local', ...more })
  const reading = (value: number) => f(value, [...LEA], [{ at: 3, kind: 'pcrel32', to: 'seed' }])

  it('is refused where its number is gone and a new variable read', () => {
    expect(refusal({ before: [f(SEED)], after: [reading(1), seed()] })).toEqual(['CONSTANT_BECAME_STATE f'])
  })

  it.each<[string, BlockSpec[], BlockSpec[]]>([
    ['the number is still there', [f(SEED)], [reading(SEED), seed()]],
    ['the number is in a new function', [f(SEED)], [reading(1), seed(), code('g', moveImmediate(SEED))]],
    ['the number is small', [f(1000)], [reading(1), seed()]],
    ['the variable was there', [f(SEED), seed()], [reading(1), seed()]],
    ['the variable is read-only', [f(SEED)], [reading(1), seed({ kind: 'rodata' })]],
    ['another function reads the variable', [f(SEED)], [f(1), code('g', LEA, [{ at: 3, kind: 'pcrel32', to: 'seed' }]), seed()]],
  ])('is none: %s', (_, before, after) => {
    expect(run({ before, after }).plan?.functions.map(({ name }) => name)).toEqual(['f'])
  })
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

describe('patchable entries', () => {
  it('the function begins behind the nops that stand before it', () => {
    const nops = Array<number>(14).fill(0x90)
    const padded = (value: number): BlockSpec => ({
      name: 'f',
      content: [...nops, 0x66, 0x90, ...PROLOGUE, ...moveImmediate(value), 0xc9, 0xc3],
      entry: 14,
    })
    const user = (value: number) =>
      code(
        'user',
        [...moveImmediate(value), ...CALL, ...LEA],
        [
          { at: 6, kind: 'branch32', to: 'f' },
          { at: 13, kind: 'pcrel32', to: 'f' },
        ],
      )
    const { plan, base } = run({ before: [padded(1), user(1)], after: [padded(2), user(2)] })
    const [patched] = plan?.functions ?? []
    expect(patched).toMatchObject({ name: 'f', rva: base.rvaOf('f') + 14, entry: 14, size: 13, redirect: 'entry-nops' })
    const edges = plan?.blocks.find((b) => b.name === 'user')?.edges ?? []
    expect(edges.map((e) => plan?.resolutions.get(e))).toMatchObject([
      { to: 'patch', offset: 14 },
      { to: 'base', rva: base.rvaOf('f') + 14 },
    ])
  })
})

describe('refusals', () => {
  const both = (blocks: (value: number) => BlockSpec[]): Pick<Case, 'before' | 'after'> => ({ before: blocks(1), after: blocks(2) })

  it('DATA_CHANGED: the initial value of a variable', () => {
    expect(refusal(both((v) => [f(v), data('limit', [v, 0, 0, 0])]))).toEqual(['DATA_CHANGED limit'])
  })
  it('DATA_CHANGED: a pointer in a variable leads elsewhere', () => {
    const hook = (to: string) => data('hook', FIELD64, { edges: [{ at: 0, kind: 'abs64', to }] })
    const rest = [code('g', []), code('h', [0x90])]
    expect(refusal({ before: [hook('g'), ...rest], after: [hook('h'), ...rest] })).toEqual(['DATA_CHANGED hook'])
  })
  it('DATA_LAYOUT: the size of a variable', () => {
    expect(refusal(both((v) => [f(v), { name: 'buffer', kind: 'bss', content: 8 * v }]))).toEqual(['DATA_LAYOUT buffer'])
  })
  it('DATA_LAYOUT: a variable that became constant', () => {
    expect(refusal({ before: [data('x', [1])], after: [table('x', [1])] })).toEqual(['DATA_LAYOUT x'])
  })
  it('RODATA_CHANGED: a named table that an unchanged function uses', () => {
    const user = code('g', LEA, [{ at: 3, kind: 'pcrel32', to: 'names' }])
    expect(refusal(both((v) => [f(v, [...LEA], [{ at: 3, kind: 'pcrel32', to: 'names' }]), user, table('names', [v])]))).toEqual([
      'RODATA_CHANGED names',
    ])
  })
  it('RODATA_CHANGED: a named table that an unchanged object uses', () => {
    const user = as('b.o', [code('g', LEA, [{ at: 3, kind: 'pcrel32', to: 'names' }])])
    const side = (v: number) => [as('a.o', [f(v), table('names', [v])]), user]
    expect(refusal({ before: side(1), after: side(2) })).toEqual(['RODATA_CHANGED names'])
  })
  it('TLS_CHANGED: a thread-local variable', () => {
    expect(refusal(both((v) => [f(v), { name: 'mine', kind: 'tls', content: [v] }]))).toEqual(['TLS_CHANGED mine'])
  })
  it('TLS_UNSUPPORTED: a changed function that uses a thread-local variable', () => {
    const blocks = (v: number): BlockSpec[] => [
      f(v, [...LEA], [{ at: 3, kind: 'gottpoff32', to: 'mine' }]),
      { name: 'mine', kind: 'tls', content: 4 },
    ]
    expect(refusal(both(blocks))).toEqual(['TLS_UNSUPPORTED f'])
  })
  it('IMPORT_NEW: a library function that the base image does not import', () => {
    const after = [f(2, [...CALL], [{ at: 1, kind: 'branch32', to: 'system' }])]
    expect(refusal({ before: [f(1)], after, link: { imports: { puts: 'lazy' } } })).toEqual(['IMPORT_NEW f'])
  })
  it('IMPORT_NEW: a static of another file is not taken for it', () => {
    const other = as('b.o', [code('system', [], [], { binding: 'local' })])
    const after = [as('a.o', [f(2, [...CALL], [{ at: 1, kind: 'branch32', to: 'system' }])]), other]
    expect(refusal({ before: [as('a.o', [f(1)]), other], after })).toEqual(['IMPORT_NEW f'])
  })
  it('IFUNC: a changed resolver', () => {
    expect(refusal(both((v) => [f(v, [], [], { symbolKind: 'ifunc' })]))).toEqual(['IFUNC f'])
  })
  it('FUNCTION_TOO_SHORT: no room for a jump', () => {
    const short = (value: number): BlockSpec => ({ name: 'f', content: [0x6a, value, 0x58, 0xc3] })
    expect(refusal(both((v) => [short(v)]))).toEqual(['FUNCTION_TOO_SHORT f'])
  })
  it('REDIRECT_UNSAFE: a loop back into the first bytes', () => {
    // inc eax; cmp eax, v; jne -5 → to offset 0
    const loop = (value: number): BlockSpec => ({ name: 'f', content: [0xff, 0xc0, 0x83, 0xf8, value, 0x75, 0xf9, 0xc3] })
    expect(refusal(both((v) => [loop(v)]))).toEqual(['REDIRECT_UNSAFE f'])
  })
  it('REDIRECT_UNSAFE: a jump table that leads into the first bytes', () => {
    const blocks = (v: number): BlockSpec[] => [
      f(v, [...LEA], [{ at: 3, kind: 'pcrel32', to: 'jumps' }]),
      table('jumps', FIELD32, { anonymous: true, edges: [{ at: 0, kind: 'pcrel32', to: 'f', addend: 1 }] }),
    ]
    expect(refusal(both(blocks))).toEqual(['REDIRECT_UNSAFE f'])
  })
  it('REDIRECT_UNSAFE: a function with a second entry', () => {
    expect(refusal(both((v) => [f(v, [], [], { inner: [{ name: 'f_fast', offset: 4 }] })]))).toEqual(['REDIRECT_UNSAFE f'])
  })
  it('REDIRECT_UNSAFE: a function that the linker made one with another', () => {
    const g = code('g', moveImmediate(1))
    expect(refusal({ before: [f(1), g], after: [f(2), g], link: { folded: { g: 'f' } } })).toEqual(['REDIRECT_UNSAFE f'])
  })
  it('LANDING_PAD_LOST: endbr64 before the fix, none after it', () => {
    const endbr64 = [0xf3, 0x0f, 0x1e, 0xfa]
    const guarded = (value: number): BlockSpec => ({ name: 'f', content: [...endbr64, ...PROLOGUE, ...moveImmediate(value), 0xc3] })
    const bare = (value: number): BlockSpec => ({ name: 'f', content: [...PROLOGUE, ...moveImmediate(value), 0xc3] })
    expect(refusal({ before: [guarded(1)], after: [bare(2)] })).toEqual(['LANDING_PAD_LOST f'])
    expect(run({ before: [guarded(1)], after: [guarded(2)] }).plan?.functions.length).toBe(1)
    expect(run({ before: [bare(1)], after: [guarded(2)] }).plan?.functions.length).toBe(1)
  })
  it('SECTION_SHARED: compiled without -ffunction-sections', () => {
    expect(refusal(both((v) => [f(v, [], [], { group: '.text' }), code('g', [], [], { group: '.text' })]))).toEqual(['SECTION_SHARED f'])
  })
  it('STARTUP_CHANGED: a new constructor', () => {
    const array: BlockSpec = data('.init_array', FIELD64, {
      section: '.init_array',
      anonymous: true,
      edges: [{ at: 0, kind: 'abs64', to: 'g' }],
    })
    expect(refusal({ before: [f(1), code('g', [])], after: [f(2), code('g', []), array] })).toEqual(['STARTUP_CHANGED .init_array'])
  })
  it('BASE_MISMATCH: the base image holds another version of the function', () => {
    expect(refusal({ ...both((v) => [f(v)]), linked: [as('a.o', [f(9)])] })).toEqual(['BASE_MISMATCH f'])
  })
  it('BASE_MISMATCH: one byte of the base image is another', () => {
    expect(refusal({ ...both((v) => [f(v)]), link: { damage: [{ name: 'f', offset: 3, value: 0 }] } })).toEqual(['BASE_MISMATCH f'])
  })
  it('SYMBOL_AMBIGUOUS: two statics that nothing tells apart', () => {
    const state: BlockSpec = { name: 'state', kind: 'bss', content: 4, binding: 'local' }
    const side = (v: number) => [as('x/u.o', [f(v), state], 'u.c'), as('y/u.o', [state, code('g', [])], 'u.c')]
    const after = [as('x/u.o', [f(2, [...LEA], [{ at: 3, kind: 'pcrel32', to: 'state' }]), state], 'u.c'), side(1)[1] as LinkGraph]
    expect(refusal({ before: side(1), after })).toEqual(['SYMBOL_AMBIGUOUS f'])
  })
  it('SYMBOL_AMBIGUOUS: the machine code contradicts the symbol table', () => {
    const blocks = (v: number): BlockSpec[] => [
      f(v, [...LEA], [{ at: 3, kind: 'pcrel32', to: 'counter' }]),
      { name: 'counter', kind: 'bss', content: 4, binding: 'local' },
    ]
    expect(refusal({ ...both(blocks), link: { damage: [{ name: 'f', offset: 12, value: 0x77 }] } })).toEqual(['SYMBOL_AMBIGUOUS f'])
  })
  it('SYMBOL_AMBIGUOUS: two static locals of one function that changed places', () => {
    const uses = (v: number) =>
      f(
        v,
        [...LEA, ...LEA],
        [
          { at: 3, kind: 'pcrel32', to: 'n.0' },
          { at: 10, kind: 'pcrel32', to: 'n.1' },
        ],
      )
    const local = (name: string, size: number): BlockSpec => ({ name, kind: 'bss', content: size, binding: 'local' })
    const found = refusal({ before: [uses(1), local('n.0', 4), local('n.1', 8)], after: [uses(2), local('n.0', 8), local('n.1', 4)] })
    expect(new Set(found.map((x) => x.split(' ')[0]))).toEqual(new Set(['SYMBOL_AMBIGUOUS']))
  })
  it('SYMBOL_MISSING: a stripped image in which nothing leads to it', () => {
    const long = (v: number, body: number[] = [], edges: BlockSpec['edges'] = []) =>
      f(v, [...body, ...moveImmediate(1), ...moveImmediate(2), ...moveImmediate(3)], edges)
    const state: BlockSpec = { name: 'state', kind: 'bss', content: 4, binding: 'local' }
    const after = [long(2, [...LEA], [{ at: 3, kind: 'pcrel32', to: 'state' }]), state]
    expect(refusal({ before: [long(1), state], after, link: { symbols: 'none' } })).toEqual(['SYMBOL_MISSING f'])
  })
  it('ABSOLUTE_ADDRESS: code that is not position-independent and brings a literal', () => {
    const after = [
      f(2, [0xbf, ...FIELD32], [{ at: 1, kind: 'abs32', to: 'text', addend: 0 }]),
      table('text', 'x', { anonymous: true, constant: 'strings' }),
    ]
    expect(refusal({ before: [f(1)], after, link: { relocatable: true } })).toEqual(['ABSOLUTE_ADDRESS f'])
  })
  it('REFERENCE_UNSUPPORTED: a 64-bit distance to the base image', () => {
    const blocks = (v: number): BlockSpec[] => [f(v, [...FIELD64], [{ at: 0, kind: 'pcrel64', to: 'x', addend: 0 }]), data('x', [1])]
    expect(refusal(both(blocks))).toEqual(['REFERENCE_UNSUPPORTED f'])
  })
  it('OUT_OF_REACH: a reference beyond the end of the base image', () => {
    const blocks = (v: number): BlockSpec[] => [f(v, [...LEA], [{ at: 3, kind: 'pcrel32', to: 'x', addend: 0x1000000 }]), data('x', [1])]
    expect(refusal(both(blocks))).toEqual(['OUT_OF_REACH f'])
  })
  it('MACHINE_MISMATCH: objects of another format than the base image', () => {
    expect(refusal({ ...both((v) => [f(v)]), link: { format: 'pe' } })).toEqual(['MACHINE_MISMATCH base'])
  })
  it('REMOVED_REFERENCED: a variable is gone that another object uses', () => {
    const user = as('b.o', [code('g', LEA, [{ at: 3, kind: 'pcrel32', to: 'x' }])])
    expect(refusal({ before: [as('a.o', [f(1), data('x', [1])]), user], after: [as('a.o', [f(2)]), user] })).toEqual([
      'REMOVED_REFERENCED x',
    ])
  })
  it('SYMBOL_AMBIGUOUS: two objects have a callback', () => {
    const callout = (value: number) => code('__PatchMainCallout__', moveImmediate(value))
    const other = (blocks: BlockSpec[]) => as('b.o', [code('g', moveImmediate(3)), ...blocks])
    expect(refusal({ before: [as('a.o', [f(1)]), other([])], after: [as('a.o', [f(2), callout(1)]), other([callout(2)])] })).toEqual([
      'SYMBOL_AMBIGUOUS __PatchMainCallout__',
    ])
  })
  it('gives all reasons at once', () => {
    const blocks = (v: number): BlockSpec[] => [f(v), data('a', [v]), { name: 'b', kind: 'bss', content: v }]
    expect(refusal(both(blocks))).toEqual(['DATA_CHANGED a', 'DATA_LAYOUT b'])
  })
})

describe('remarks', () => {
  it('RUNS_ONCE: main', () => {
    const main = (v: number): BlockSpec => code('main', moveImmediate(v))
    expect(run({ before: [main(1)], after: [main(2)] }).report.remarks.map((r) => r.code)).toEqual(['RUNS_ONCE'])
  })
})

describe('determinism', () => {
  it('does not depend on the order in which objects are listed', () => {
    const a = (v: number) => as('a.o', [f(v, [...CALL], [{ at: 1, kind: 'branch32', to: 'g' }])])
    const b = (v: number) => as('b.o', [code('g', moveImmediate(v))])
    const outline = ({ plan }: Planned) => plan?.blocks.map((x) => [x.name, ...leads(plan, x.name)])
    const first = run({ before: [a(1), b(1)], after: [a(2), b(2)] })
    const second = run({ before: [b(1), a(1)], after: [b(2), a(2)], linked: [a(1), b(1)] })
    expect(outline(first)).toEqual(outline(second))
  })
})
