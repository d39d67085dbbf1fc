import { describe, expect, it } from 'vitest'
import { type BlockSpec, code, LEA, moveImmediate } from '../testing/graphs.ts'
import { data, f, refusal, run } from '../testing/plans.ts'

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
