import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { CfaRow } from '../../binary/dwarf/cfa.ts'
import type { FrameFunction } from '../../binary/dwarf/frames.ts'
import { frameTable, RETURN_ADDRESS, RSP } from './frames.ts'
import { framesByNeed } from './frames-by-need.ts'
import { saying } from './testing/saying.ts'

const row = (start: number, offset: number): CfaRow => ({
  start,
  cfa: { kind: 'register', register: RSP, offset },
  registers: new Map([
    [RETURN_ADDRESS, { kind: 'offset', offset: -8 }],
    ...(offset > 8 ? [[3, { kind: 'offset', offset: -16 }] as const] : []),
  ]),
  returnAddressSigned: false,
})

interface Made {
  readonly gap: number
  readonly size: number
  readonly rows: readonly number[]
  readonly signal: boolean
  readonly known: boolean
}

const made = fc.array(
  fc.record({
    gap: fc.integer({ min: 0, max: 3 }),
    size: fc.integer({ min: 1, max: 40 }),
    rows: fc.uniqueArray(fc.integer({ min: 1, max: 39 }), { maxLength: 5 }),
    signal: fc.boolean(),
    known: fc.boolean(),
  }),
  { minLength: 1, maxLength: 40 },
)

/** One behind the other; undefined: nothing is known of its frame. */
function functionsOf(all: readonly Made[]) {
  let at = 0x1000
  return all.map(({ gap, size, rows, signal, known }) => {
    const start = at + gap
    at = start + size
    const described: FrameFunction = {
      start,
      size,
      rows: [row(0, 8), ...[...rows].sort((a, b) => a - b).map((place, i) => row(place, 16 + 8 * i))],
      signal,
    }
    return { start, end: at, described: known ? described : undefined }
  })
}

test('says what a table of all functions says, in whatever order it is asked, and compiles each function once', () => {
  fc.assert(
    fc.property(made, fc.infiniteStream(fc.nat()), (all, order) => {
      const functions = functionsOf(all)
      const asked = functions.map(() => 0)
      const whole = frameTable(functions.flatMap(({ described }) => described ?? []))
      const byNeed = framesByNeed({
        count: functions.length,
        indexAt: (rva) => functions.findIndex(({ start, end }) => rva >= start && rva < end),
        append: (index, rows) => {
          asked[index] = (asked[index] as number) + 1
          const { described, end } = functions[index] as (typeof functions)[number]
          if (described !== undefined) rows.appendRows(described, end)
        },
      })
      const last = (functions.at(-1)?.end ?? 0) + 2
      for (let look = 0; look < 300; look++) {
        const rva = 0xfff + ((order.next().value as number) % (last - 0xfff))
        expect(saying(byNeed, rva)).toEqual(saying(whole, rva))
      }
      for (const times of asked) expect(times).toBeLessThanOrEqual(1)
    }),
  )
})
