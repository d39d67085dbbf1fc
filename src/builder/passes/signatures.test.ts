import { describe, expect, it } from 'vitest'
import { code } from '../testing/graphs.ts'
import { type Case, f, refusal, run } from '../testing/plans.ts'

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
