import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EDGE_KINDS, type EdgeKind } from '../edges.ts'
import { offsetOf, reaches, reachOfField, withField } from './fields.ts'
import { decodeWord } from './instructions.ts'

/** An instruction of each kind whose field is empty. */
const EMPTY = {
  branch26: 0x94000000,
  branch19: 0x54000001,
  branch14: 0xb7f80005,
  literal19: 0x58000011,
  adr21: 0x1000001e,
  page21: 0x90000010,
} as const satisfies Partial<Record<EdgeKind, number>>
const KINDS = Object.keys(EMPTY) as (keyof typeof EMPTY)[]
const UNITS = { branch26: 4, branch19: 4, branch14: 4, literal19: 4, adr21: 1, page21: 4096 } as const

describe.each(KINDS)('%s', (kind) => {
  const { low, high } = reachOfField(kind)
  const unit = UNITS[kind]

  test('reads as it was written, and touches nothing but its field', () => {
    const place = fc.integer({ min: 0, max: 2 ** 30 }).map((n) => n * 4)
    const steps = fc.integer({ min: low / unit, max: high / unit })
    fc.assert(
      fc.property(place, steps, fc.nat(), (at, count, noise) => {
        const from = kind === 'page21' ? at - (at % 4096) : at
        const word = EMPTY[kind]
        const filled = withField(kind, word, from + count * unit, at)
        expect(decodeWord(filled).distance).toBe(count * unit)
        const { mask = 0 } = EDGE_KINDS[kind]
        expect((filled & ~mask) >>> 0).toBe((word & ~mask) >>> 0)
        // What stood in the field before makes no difference.
        expect(withField(kind, (word | (noise & mask)) >>> 0, from + count * unit, at)).toBe(filled)
      }),
    )
  })

  test('holds exactly its range', () => {
    const place = 0x4000_0000_0000
    for (const [distance, holds] of [
      [low, true],
      [high, true],
      [low - unit, false],
      [high + unit, false],
    ] as const) {
      expect([distance, reaches(kind, place + distance, place)]).toEqual([distance, holds])
      if (holds) expect(decodeWord(withField(kind, EMPTY[kind], place + distance, place)).distance).toBe(distance)
      else
        expect(() => withField(kind, EMPTY[kind], place + distance, place)).toThrow(expect.objectContaining({ code: 'PATCH_OUT_OF_REACH' }))
    }
  })
})

test('the ranges are those of the architecture', () => {
  const MB = 2 ** 20
  expect(reachOfField('branch26')).toEqual({ low: -128 * MB, high: 128 * MB - 4 })
  expect(reachOfField('branch19')).toEqual({ low: -MB, high: MB - 4 })
  expect(reachOfField('branch14')).toEqual({ low: -32768, high: 32764 })
  expect(reachOfField('adr21')).toEqual({ low: -MB, high: MB - 1 })
  expect(reachOfField('page21')).toEqual({ low: -4096 * MB, high: 4095.99609375 * MB })
})

test('a branch to what is not aligned is refused', () => {
  expect(() => withField('branch26', 0x14000000, 2, 0)).toThrow(expect.objectContaining({ code: 'PATCH_OUT_OF_REACH' }))
})

describe('the low 12 bits', () => {
  /** ADD, LDRB, LDRH, LDR w, LDR x, LDR q, STR q. */
  const WORDS: readonly (readonly [number, number])[] = [
    [0x91000000, 1],
    [0x39400000, 1],
    [0x79400000, 2],
    [0xb9400000, 4],
    [0xf9400000, 8],
    [0x3dc00000, 16],
    [0x3d800000, 16],
  ]

  test('go into additions, loads and stores as each counts', () => {
    fc.assert(
      fc.property(fc.constantFrom(...WORDS), fc.nat(2 ** 30), ([word, unit], n) => {
        const target = n * unit
        expect(offsetOf(withField('pageoff12', word, target, 0))).toBe(target % 4096)
      }),
    )
  })

  test('are refused where what is loaded is not aligned', () => {
    for (const [word, unit] of WORDS)
      if (unit > 1) expect(() => withField('pageoff12', word, unit / 2, 0)).toThrow(expect.objectContaining({ code: 'PATCH_OUT_OF_REACH' }))
  })
})
