import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { difference } from '../diff.ts'
import { type BlockSpec, CALL, code, LEA, moveImmediate, type ObjectSpec, object, program } from '../testing/graphs.ts'

/** Names of what differs between two versions of one object. */
const changed = (before: BlockSpec[], after: BlockSpec[], rest: Partial<ObjectSpec> = {}): string[] => {
  const side = (blocks: BlockSpec[]) => object({ path: 'a.o', blocks, ...rest })
  return difference(program([side(before)], [side(after)]))
    .classified.changes.map((c) => `${c.change} ${c.kind} ${c.name}`)
    .sort()
}

const literal = (name: string, text: string, rest: Partial<BlockSpec> = {}): BlockSpec => ({
  name,
  kind: 'rodata',
  content: text,
  anonymous: true,
  constant: 'strings',
  section: '.rodata.str1.1',
  ...rest,
})
const prints = (name: string, text: string, immediate = 1): BlockSpec =>
  code(
    name,
    [...moveImmediate(immediate), ...LEA, ...CALL],
    [
      { at: 8, kind: 'pcrel32', to: text },
      { at: 13, kind: 'branch32', to: 'puts' },
    ],
  )

describe('comparison by meaning', () => {
  it('sees no change where strings were reordered and renumbered', () => {
    const before = [prints('f', 's0'), prints('g', 's1'), literal('s0', 'hello'), literal('s1', 'world')]
    const after = [literal('t0', 'extra'), literal('t1', 'world'), literal('t2', 'hello'), prints('g', 't1'), prints('f', 't2')]
    expect(changed(before, after)).toEqual([])
  })

  it('sees a function whose string changed', () => {
    expect(changed([prints('f', 's'), literal('s', 'hello')], [prints('f', 's'), literal('s', 'hallo')])).toEqual(['changed function f'])
  })

  it('compares strings up to their end, also where one is the tail of another', () => {
    const before = [prints('f', 's'), literal('s', 'world')]
    const tail = code(
      'f',
      [...moveImmediate(1), ...LEA, ...CALL],
      [
        { at: 8, kind: 'pcrel32', to: 's', addend: 6 - 4 },
        { at: 13, kind: 'branch32', to: 'puts' },
      ],
    )
    expect(changed(before, [tail, literal('s', 'hello world')])).toEqual([])
    expect(changed(before, [tail, literal('s', 'hello worlds')])).toEqual(['changed function f'])
  })

  it('compares wide strings beyond their first zero byte', () => {
    const wide = (text: string) => literal('s', '', { content: [...Buffer.from(`${text}\0`, 'utf16le')], section: '.rodata.str2.2' })
    expect(changed([prints('f', 's'), wide('ab')], [prints('f', 's'), wide('ac')])).toEqual(['changed function f'])
  })

  it('follows jump tables into functions', () => {
    const table = (name: string, targets: number[]): BlockSpec => ({
      name,
      kind: 'rodata',
      anonymous: true,
      content: new Uint8Array(targets.length * 4),
      edges: targets.map((t, i) => ({ at: 4 * i, kind: 'pcrel32', to: 'f', addend: t + 4 * i })),
    })
    const f = (name: string) => code('f', [...LEA, 0x90, 0x90], [{ at: 3, kind: 'pcrel32', to: name }])
    expect(changed([f('t'), table('t', [4, 11])], [table('u', [4, 11]), f('u')])).toEqual([])
    expect(changed([f('t'), table('t', [4, 11])], [table('u', [4, 12]), f('u')])).toEqual(['changed function f'])
  })

  it('comes to an end on constants that refer to each other', () => {
    const ring = (names: string[], value: number): BlockSpec[] =>
      names.map((name, i) => ({
        name,
        kind: 'rodata',
        anonymous: true,
        content: [0, 0, 0, 0, 0, 0, 0, 0, i === 1 ? value : 0],
        edges: [{ at: 0, kind: 'abs64', to: names[(i + 1) % names.length] as string }],
      }))
    const f = (to: string) => code('f', LEA, [{ at: 3, kind: 'pcrel32', to }])
    expect(changed([f('a'), ...ring(['a', 'b', 'c'], 1)], [f('x'), ...ring(['x', 'y', 'z'], 1)])).toEqual([])
    expect(changed([f('a'), ...ring(['a', 'b', 'c'], 1)], [f('x'), ...ring(['x', 'y', 'z'], 2)])).toEqual(['changed function f'])
  })

  it('does not let one refuted assumption stain what leans on it', () => {
    // g's table and f's table share a cycle; only the part that f reaches first differs.
    const tables = (prefix: string, value: number): BlockSpec[] => [
      {
        name: `${prefix}1`,
        kind: 'rodata',
        anonymous: true,
        content: new Uint8Array(16),
        edges: [
          { at: 0, kind: 'abs64', to: `${prefix}2` },
          { at: 8, kind: 'abs64', to: `${prefix}3` },
        ],
      },
      {
        name: `${prefix}2`,
        kind: 'rodata',
        anonymous: true,
        content: new Uint8Array(8),
        edges: [{ at: 0, kind: 'abs64', to: `${prefix}1` }],
      },
      { name: `${prefix}3`, kind: 'rodata', anonymous: true, content: [value] },
    ]
    const f = (name: string, to: string) => code(name, LEA, [{ at: 3, kind: 'pcrel32', to }])
    expect(changed([f('f', 'a1'), f('g', 'a2'), ...tables('a', 1)], [f('f', 'b1'), f('g', 'b2'), ...tables('b', 2)])).toEqual([
      'changed function f',
      'changed function g',
    ])
  })

  it('does not care which object a visible function comes from', () => {
    const call = code('f', CALL, [{ at: 1, kind: 'branch32', to: 'g' }])
    const before = [object({ path: 'a.o', blocks: [call, code('g', [])] }), object({ path: 'b.o', blocks: [code('h', [])] })]
    const after = [object({ path: 'a.o', blocks: [call] }), object({ path: 'b.o', blocks: [code('h', []), code('g', [])] })]
    expect(difference(program(before, after)).classified.changes).toEqual([])
  })

  it('sees a call that goes to another function of the same bytes', () => {
    const call = (to: string) => code('f', CALL, [{ at: 1, kind: 'branch32', to }])
    expect(changed([call('g'), code('g', []), code('h', [])], [call('h'), code('g', []), code('h', [])])).toEqual(['changed function f'])
  })

  it('counts a changed cold part as a change of its function', () => {
    const f = code('f', [0xe9, 0, 0, 0, 0], [{ at: 1, kind: 'branch32', to: 'f.cold' }])
    const cold = (value: number) => code('f.cold', moveImmediate(value), [], { binding: 'local', section: '.text.unlikely.f' })
    expect(changed([f, cold(1)], [f, cold(2)])).toEqual(['changed function f'])
  })

  it('counts a changed exception table as a change of its function, changed unwind rows alone not', () => {
    const blocks = (rows: number, caught: string): BlockSpec[] => [
      code('f', [0x90], [], { companions: ['fde'] }),
      {
        name: 'fde',
        kind: 'unwind',
        anonymous: true,
        content: [0, 0, 0, 0, 0, 0, 0, 0, rows],
        edges: [
          { at: 0, kind: 'pcrel32', to: 'f' },
          { at: 4, kind: 'pcrel32', to: 'lsda' },
        ],
      },
      {
        name: 'lsda',
        kind: 'rodata',
        anonymous: true,
        section: '.gcc_except_table.f',
        content: [0, 0, 0, 0],
        edges: [{ at: 0, kind: 'pcrel32', to: caught }],
      },
    ]
    expect(changed(blocks(1, 'A'), blocks(1, 'A'))).toEqual([])
    expect(changed(blocks(1, 'A'), blocks(2, 'A'))).toEqual(['changed unwind f'])
    expect(changed(blocks(1, 'A'), blocks(1, 'B'))).toEqual(['added import B', 'changed function f'])
  })
})

describe('properties of the comparison', () => {
  const words = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,8}$/), { minLength: 1, maxLength: 6 })

  interface Shape {
    readonly strings: string[]
    readonly functions: { immediate: number; text: number; callee: number }[]
  }
  const shapes: fc.Arbitrary<Shape> = words.chain((strings) =>
    fc.record({
      strings: fc.constant(strings),
      functions: fc.array(fc.record({ immediate: fc.nat(0xffff), text: fc.nat(strings.length - 1), callee: fc.nat(7) }), {
        minLength: 1,
        maxLength: 8,
      }),
    }),
  )
  const build = ({ strings, functions }: Shape, prefix: string, order: readonly number[]): BlockSpec[] => {
    const blocks = [
      ...strings.map((text, i) => literal(`${prefix}${i}`, text)),
      ...functions.map(({ immediate, text, callee }, i) =>
        code(
          `f${i}`,
          [...moveImmediate(immediate), ...LEA, ...CALL],
          [
            { at: 8, kind: 'pcrel32', to: `${prefix}${text}` },
            { at: 13, kind: 'branch32', to: callee < functions.length ? `f${callee}` : 'puts' },
          ],
        ),
      ),
    ]
    return blocks
      .map((block, i) => ({ block, key: order[i % order.length] ?? 0 }))
      .sort((a, b) => a.key - b.key)
      .map(({ block }) => block)
  }
  const orders = fc.array(fc.nat(1000), { minLength: 1, maxLength: 14 })

  it('renumbering and reordering of blocks, symbols and strings is no change', () => {
    fc.assert(
      fc.property(shapes, orders, orders, (shape, first, second) => {
        expect(changed(build(shape, 'a', first), build(shape, 'b', second))).toEqual([])
      }),
    )
  })

  it('a change of one immediate is found, in that function and nowhere else', () => {
    fc.assert(
      fc.property(shapes, orders, fc.nat(7), fc.integer({ min: 1, max: 0xffff }), (shape, order, which, by) => {
        const index = which % shape.functions.length
        const functions = shape.functions.map((f, i) => (i === index ? { ...f, immediate: (f.immediate + by) & 0xffffff } : f))
        expect(changed(build(shape, 'a', order), build({ ...shape, functions }, 'b', order))).toEqual([`changed function f${index}`])
      }),
    )
  })

  it('a change of one string is found in all functions that use it and in no other', () => {
    fc.assert(
      fc.property(shapes, orders, fc.nat(5), (shape, order, which) => {
        const index = which % shape.strings.length
        const strings = shape.strings.map((s, i) => (i === index ? `${s}!` : s))
        const users = shape.functions.flatMap((f, i) => (f.text === index ? [`changed function f${i}`] : []))
        expect(changed(build(shape, 'a', order), build({ ...shape, strings }, 'b', order))).toEqual(users.sort())
      }),
    )
  })
})
