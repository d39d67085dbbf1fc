import { describe, expect, it } from 'vitest'
import { wordsOf } from '../../machine/arm64/instructions.ts'
import type { LinkGraph } from '../graph.ts'
import { type BlockSpec, code, LEA, moveImmediate } from '../testing/graphs.ts'
import { as, data, f, refusal, run } from '../testing/plans.ts'
import type { Change, Located } from './classify.ts'
import { judgeNewState } from './new-state.ts'

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

describe('a constant of ARM64 that became state', () => {
  /** MOV w2, #0x9843; MOVK w2, #0x432a, LSL #16; RET, and RET, in one function that reads `seed` afterwards. */
  const [SEED, RET] = [[0x52930862, 0x72a86542], 0xd65f03c0]
  const located = (name: string, graph: LinkGraph): Located => {
    const block = graph.blocks.find(({ symbols }) => symbols.some((symbol) => symbol.name === name))
    if (block === undefined) throw new Error(`no ${name}`)
    return { graph: { ...graph, machine: 'arm64' }, block }
  }
  const reasonsFor = (after: readonly number[]): string[] => {
    const seed = data('seed', [0, 0, 0, 0])
    const before = as('a.o', [code('f', [...wordsOf([...SEED, RET])])])
    const changed = as('a.o', [code('f', [...wordsOf(after)], [{ at: 0, kind: 'page21', to: 'seed' }]), seed])
    const change = (kind: 'function' | 'data', name: string, old?: LinkGraph): Change => ({
      kind,
      change: old === undefined ? 'added' : 'changed',
      name,
      file: 'a.o',
      before: old && located(name, old),
      after: located(name, changed),
      reasons: [],
    })
    const changes = [change('function', 'f', before), change('data', 'seed')]
    judgeNewState(changes)
    return changes.flatMap(({ reasons }) => reasons.map(({ code }) => code))
  }

  it('is refused where its number is gone', () => {
    expect(reasonsFor([0x90000000, RET])).toEqual(['CONSTANT_BECAME_STATE'])
    expect(reasonsFor([0x90000000, SEED[0] as number, RET])).toEqual(['CONSTANT_BECAME_STATE'])
  })

  it('is none where the number is still there', () => expect(reasonsFor([0x90000000, ...SEED, RET])).toEqual([]))
})
