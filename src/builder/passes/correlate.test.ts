import { describe, expect, it } from 'vitest'
import { type BlockSpec, CALL, code, LEA, moveImmediate, object, program } from '../testing/graphs.ts'
import { correlate } from './correlate.ts'

const twinsOf = (before: BlockSpec[], after: BlockSpec[]) => {
  const b = object({ path: 'a.o', blocks: before })
  const a = object({ path: 'a.o', blocks: after })
  const twins = correlate(program([b], [a]))
  return {
    pairs: Object.fromEntries([...twins.before].map(([x, y]) => [x.name, y.name])),
    ambiguous: [...twins.ambiguous].map((x) => x.name).sort(),
  }
}

const uses = (name: string, ...variables: string[]): BlockSpec =>
  code(
    name,
    variables.flatMap(() => LEA),
    variables.map((to, i) => ({ at: 7 * i + 3, kind: 'pcrel32', to })),
  )
const local = (name: string, size = 4): BlockSpec => ({ name, kind: 'bss', content: size, binding: 'local' })

describe('correlation', () => {
  it('pairs functions and variables by name, whatever the order and the section', () => {
    const { pairs } = twinsOf(
      [code('f', [0x90]), code('g', []), local('v')],
      [local('v'), code('g', []), code('f', [], [], { section: '.text.hot' })],
    )
    expect(pairs).toEqual({ f: 'f', g: 'g', v: 'v' })
  })

  it('pairs a variable that moved from .bss to .data', () => {
    expect(twinsOf([local('v')], [{ name: 'v', kind: 'data', content: [1, 0, 0, 0], binding: 'local' }]).pairs).toEqual({ v: 'v' })
  })

  it('pairs the only static local of its name though its number moved', () => {
    expect(twinsOf([uses('f', 'state.3'), local('state.3')], [uses('f', 'state.7'), local('state.7')]).pairs).toMatchObject({
      'state.3': 'state.7',
    })
  })

  it('tells static locals of one name apart by the functions that use them, when their numbers were swapped', () => {
    const before = [uses('f', 'state.0'), uses('g', 'state.1'), local('state.0'), local('state.1')]
    const after = [uses('f', 'state.1'), uses('g', 'state.0'), local('state.0'), local('state.1')]
    expect(twinsOf(before, after).pairs).toMatchObject({ 'state.0': 'state.1', 'state.1': 'state.0' })
  })

  it('leaves a new static local new when another of its name exists', () => {
    const before = [uses('f', 'state.0'), local('state.0')]
    const after = [uses('f', 'state.1'), uses('g', 'state.0'), local('state.0'), local('state.1')]
    const { pairs, ambiguous } = twinsOf(before, after)
    expect(pairs).toMatchObject({ 'state.0': 'state.1' })
    expect(ambiguous).toEqual([])
  })

  it('pairs two static locals of one function only if nothing about them moved', () => {
    const before = [uses('f', 'n.0', 'n.1'), local('n.0'), local('n.1', 8)]
    expect(twinsOf(before, before).pairs).toMatchObject({ 'n.0': 'n.0', 'n.1': 'n.1' })
    const { pairs, ambiguous } = twinsOf(before, [uses('f', 'n.0', 'n.1'), local('n.0', 8), local('n.1')])
    expect(pairs).toEqual({ f: 'f' })
    expect(ambiguous).toEqual(['n.0', 'n.0', 'n.1', 'n.1'])
  })

  it('pairs clones by what they are made of when their numbers moved', () => {
    const body = moveImmediate(7)
    const other = moveImmediate(9)
    const clone = (n: number, bytes: number[]) => code(`f.constprop.${n}`, bytes, [], { binding: 'local' })
    const before = [clone(0, body), clone(1, other)]
    const after = [clone(0, [0x90]), clone(1, body), clone(2, other)]
    expect(twinsOf(before, after).pairs).toEqual({ 'f.constprop.0': 'f.constprop.1', 'f.constprop.1': 'f.constprop.2' })
  })

  it('does not pair a clone with a clone of another kind', () => {
    expect(twinsOf([code('f.constprop.0', [])], [code('f.isra.0', [])]).pairs).toEqual({})
  })

  it('pairs by any of several names: an alias that came or went is no other function', () => {
    const alias = code('f.localalias', [0x90], [], { binding: 'local', aliases: [] })
    const before = object({ path: 'a.o', blocks: [code('f', [])] })
    const after = object({ path: 'a.o', blocks: [{ ...alias, aliases: ['f'] }] })
    const [block] = after.blocks
    // As gcc has it: the alias is local, the function is not.
    const symbols = after.symbols.map((s) => (s.name === 'f' ? { ...s, binding: 'global' as const } : s))
    block?.symbols.splice(0, 2, ...symbols.filter((s) => s.block === block))
    const twins = correlate(program([before], [{ ...after, symbols }]))
    expect(twins.before.get(before.blocks[0] as never)).toBe(block)
  })

  it('pairs a variable that others see though a static local has its name', () => {
    const global: BlockSpec = { name: 'state', kind: 'bss', content: 4 }
    expect(twinsOf([global, uses('f', 'state.0'), local('state.0')], [local('state.1'), uses('f', 'state.1'), global]).pairs).toEqual({
      state: 'state',
      f: 'f',
      'state.0': 'state.1',
    })
  })

  it('leaves anonymous constants to the comparison', () => {
    const literal = (name: string): BlockSpec => ({ name, kind: 'rodata', content: 'hello', anonymous: true, constant: 'strings' })
    expect(twinsOf([literal('.rodata.str1.1+0x0')], [literal('.rodata.str1.1+0x0')]).pairs).toEqual({})
  })

  it('keeps same-named statics of different files apart', () => {
    const file = (path: string) =>
      object({ path, blocks: [code('helper', [...CALL], [{ at: 1, kind: 'branch32', to: path }], { binding: 'local' })] })
    const before = [file('a.o'), file('b.o')]
    const after = [file('b.o'), file('a.o')]
    const twins = correlate(program(before, after))
    expect(twins.before.get(before[0]?.blocks[0] as never)).toBe(after[1]?.blocks[0])
    expect(twins.before.get(before[1]?.blocks[0] as never)).toBe(after[0]?.blocks[0])
  })

  it('follows a visible function into another object, but not a static one', () => {
    const at = (path: string, ...blocks: BlockSpec[]) => object({ path, blocks })
    const before = [at('a.o', code('f', []), code('s', [], [], { binding: 'local' })), at('b.o', code('g', []))]
    const after = [at('a.o', code('x', [])), at('b.o', code('g', []), code('f', []), code('s', [], [], { binding: 'local' }))]
    const names = [...correlate(program(before, after)).before.keys()].map((b) => b.name).sort()
    expect(names).toEqual(['f', 'g'])
  })
})
