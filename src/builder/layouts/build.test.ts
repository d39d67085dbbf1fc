import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { readPatchImage } from '../../patch/read.ts'
import type { Acceptance } from '../acceptances.ts'
import { type BuildOutcome, buildPatch } from '../build.ts'
import { diffBuilds } from '../diff.ts'

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url))

function build(name: string, accept: readonly Acceptance[] = []): BuildOutcome {
  const files = { before: fixture(`before-${name}.o`), after: fixture(`after-${name}.o`), base: fixture(`${name}.so`) }
  return buildPatch({ ...files, accept, sequence: 1, id: name, description: '', cves: [] })
}

function manifestOf(outcome: BuildOutcome) {
  if (outcome.outcome !== 'built') throw new Error('a patch was built')
  return readPatchImage(outcome.image).manifest
}

function failure(work: () => unknown): HotpatchError {
  try {
    work()
  } catch (error) {
    if (error instanceof HotpatchError) return error
    throw error
  }
  throw new Error('it was not refused')
}

describe('patches of types whose layout changed', () => {
  it('are refused with the type and who uses it', () => {
    const { code, facts } = failure(() => build('listed'))
    expect(code).toBe('REFUSED')
    expect(facts.reasons).toEqual([
      expect.objectContaining({
        code: 'LAYOUT_CHANGED',
        symbol: 'struct listed',
        detail: expect.stringMatching(/16 bytes before, 24 after; limit was added .*first.*add_listed/),
      }),
    ])
  })

  it('are refused in the same words whether DWARF or CodeView tells of them', () => {
    const detailOf = (name: string) => {
      const diff = diffBuilds(fixture(`before-${name}`), fixture(`after-${name}`))
      return diff.items
        .flatMap(({ kind, reasons }) => (kind === 'type' ? reasons : []))
        .map(({ code, symbol, detail }) => [code, symbol, detail])
    }
    const told = detailOf('listed-codeview.obj')
    expect(told).toEqual([['LAYOUT_CHANGED', 'struct listed', expect.stringMatching(/16 bytes before, 24 after; limit was added/)]])
    // What gcc calls `long long int`.
    const asGcc = told.map(([code, symbol, detail]) => [code, symbol, detail?.replace('long long', 'long long int')])
    expect(asGcc).toEqual(detailOf('listed.o'))
  })

  it('are made where a rule lets them through, and say that all functions must switch at one instant', () => {
    const outcome = build('framed')
    expect(outcome.report.remarks).toContainEqual(
      expect.objectContaining({ code: 'LAYOUT_SAFE', symbol: 'struct framed', detail: expect.stringMatching(/^frames-only/) }),
    )
    expect(outcome.report.accepted).toEqual([])
    expect(manifestOf(outcome)).toMatchObject({ consistency: 'patch' })
    expect(manifestOf(outcome).accepted).toBeUndefined()
  })

  it('are made where their author has accepted the reason, which they carry with them', () => {
    const outcome = build('listed', [{ code: 'LAYOUT_CHANGED', symbol: 'struct listed' }])
    const accepted = [
      expect.objectContaining({ code: 'LAYOUT_CHANGED', symbol: 'struct listed', detail: expect.stringContaining('limit') }),
    ]
    expect(outcome.report.accepted).toEqual(accepted)
    expect(manifestOf(outcome).accepted).toEqual(accepted)
    expect(manifestOf(outcome).consistency).toBeUndefined()
  })

  it('are not made for acceptances of what is not refused', () => {
    const wrong: readonly Acceptance[] = [
      { code: 'LAYOUT_CHANGED', symbol: 'struct other' },
      { code: 'ENUM_CHANGED', symbol: 'struct listed' },
    ]
    for (const acceptance of wrong) {
      const { code, facts } = failure(() => build('listed', [{ code: 'LAYOUT_CHANGED', symbol: 'struct listed' }, acceptance]))
      expect(code).toBe('ACCEPT_UNMATCHED')
      expect(facts.refused).toEqual(['LAYOUT_CHANGED:struct listed'])
    }
    expect(failure(() => build('framed', [{ code: 'LAYOUT_CHANGED', symbol: 'struct framed' }])).code).toBe('ACCEPT_UNMATCHED')
  })
})

describe('patches of what other modules call', () => {
  const refused = () =>
    (failure(() => build('api')).facts.reasons as { code: string; symbol: string; detail: string }[]).sort((a, b) =>
      a.symbol < b.symbol ? -1 : 1,
    )

  it('are refused where an export is gone or takes something else; what the library alone calls may change', () => {
    expect(refused()).toEqual([
      expect.objectContaining({ code: 'EXPORT_CHANGED', symbol: 'api_gone', detail: 'was exported and is no more' }),
      expect.objectContaining({
        code: 'EXPORT_CHANGED',
        symbol: 'api_take',
        detail: 'int (int) before, int (int, int) after; other modules call it as it was',
      }),
    ])
  })

  it('are made where both were looked into', () => {
    const accept = ['api_gone', 'api_take'].map((symbol): Acceptance => ({ code: 'EXPORT_CHANGED', symbol }))
    expect(manifestOf(build('api', accept)).accepted).toHaveLength(2)
  })
})
