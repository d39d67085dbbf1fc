import { describe, expect, it } from 'vitest'
import { type BlockSpec, CALL, code, moveImmediate } from '../testing/graphs.ts'
import { as, type Case, f, run } from '../testing/plans.ts'

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
