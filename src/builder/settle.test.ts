import { describe, expect, it } from 'vitest'
import { buildPlan } from './build-plan.ts'
import { type BlockSpec, object, program } from './testing/graphs.ts'
import { link } from './testing/link.ts'
import { data, f, naming } from './testing/plans.ts'

/** A function that changes, and a variable whose initial value does: only in the image that holds it is that a reason. */
function report(inBase: readonly BlockSpec[][], accept: string[] = []) {
  const side = (value: number) => [object({ path: 'a.o', blocks: [f(value)] }), object({ path: 'b.o', blocks: [data('limit', [value])] })]
  const base = link(inBase.map((blocks, i) => object({ path: `${'ab'[i]}.o`, blocks })))
  const acceptances = accept.map((symbol) => ({ code: 'DATA_CHANGED', symbol }) as const)
  return buildPlan(program(side(1), side(2)), base, naming, acceptances).report
}

describe('the difference in the report of a patch that was made', () => {
  const { diff, accepted } = report([[f(1)], [data('limit', [1])]], ['limit'])

  it('says of what a person has accepted that it was', () => {
    expect(accepted.map(({ code, symbol }) => `${code} ${symbol}`)).toEqual(['DATA_CHANGED limit'])
    expect(diff.outcome).toBe('accepted')
    expect(diff.items.map(({ name, patchable, accepted: is }) => ({ name, patchable, accepted: is }))).toEqual([
      { name: 'f', patchable: true, accepted: false },
      { name: 'limit', patchable: true, accepted: true },
    ])
    expect(diff.items[1]?.reasons.map(({ code }) => code)).toEqual(['DATA_CHANGED'])
  })

  it('is about the base image: what only another image has refuses nothing', () => {
    const { diff: other } = report([[f(1)]])
    expect(other.outcome).toBe('patchable')
    expect(other.items.map(({ name, patchable }) => ({ name, patchable }))).toEqual([
      { name: 'f', patchable: true },
      { name: 'limit', patchable: false },
    ])
  })
})
