import { describe, expect, it } from 'vitest'
import type { Planned } from './build-plan.ts'
import type { LinkGraph } from './graph.ts'
import { type BlockSpec, CALL, code, FIELD32, FIELD64, LEA, moveImmediate, PROLOGUE } from './testing/graphs.ts'
import { as, type Case, data, f, leads, refusal, run, table } from './testing/plans.ts'

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
