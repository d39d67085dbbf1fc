import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CodePairing } from '../pairing.ts'
import { NOP, wordsOf } from './instructions.ts'
import { pairCode } from './pairing.ts'

const pair = (before: readonly number[], after: readonly number[], relocated: { before?: number[]; after?: number[] } = {}) =>
  pairCode({ bytes: wordsOf(before), relocated: new Set(relocated.before) }, { bytes: wordsOf(after), relocated: new Set(relocated.after) })
const constants = (pairing: CodePairing | undefined) => pairing?.constants.map((c) => [c.index, Number(c.before), Number(c.after), c.loads])

/** mov w2, value */
const MOVZ = (value: number) => 0x52800002 | (value << 5)
/** movk w2, value, lsl 16 */
const MOVK = (value: number) => 0x72a00002 | (value << 5)
/** cmp w2, value */
const COMPARE = (value: number) => 0x7100005f | (value << 10)
/** b.ne, so many instructions on */
const BNE = (words: number) => 0x54000001 | ((words & 0x7ffff) << 5)
const B = (words: number) => 0x14000000 | (words & 0x3ffffff)
/** add x3, x3, #1 */
const INC = 0x91000463
/** mov w3, w2 */
const USE = 0x2a0203e3
const BL = 0x94000000
const RET = 0xd65f03c0
const [HIGH, LOW] = [2, 0x3d09]

describe('constants', () => {
  test('one that is only loaded', () => {
    expect(constants(pair([INC, MOVZ(300), RET], [INC, MOVZ(302), RET]))).toEqual([[1, 300, 302, true]])
  })

  test('one in two halves is one constant, whichever of them differ', () => {
    const load = (high: number, low: number) => [MOVZ(low), INC, MOVK(high), BL, RET]
    const value = (high: number, low: number) => high * 65536 + low
    const [before, after] = [load(HIGH, LOW), load(HIGH, LOW + 2)]
    expect(constants(pair(before, after))).toEqual([[0, value(HIGH, LOW), value(HIGH, LOW + 2), true]])
    expect(constants(pair(load(HIGH, 0xffff), load(HIGH + 1, 1)))).toEqual([[0, value(HIGH, 0xffff), value(HIGH + 1, 1), true]])
    expect(constants(pair(load(HIGH, LOW), load(HIGH + 1, LOW)))).toEqual([[0, value(HIGH, LOW), value(HIGH + 1, LOW), true]])
  })

  test.each([
    ['what uses the register in between', [MOVZ(LOW), USE]],
    ['a call in between', [MOVZ(LOW), BL]],
    ['a branch that comes in between', [MOVZ(LOW), BNE(1)]],
    ['nothing before it', []],
    ['the lower half in all 64 bits', [MOVZ(LOW) | 0x80000000]],
  ])('half a constant is not only loaded: %s', (_name, between) => {
    const code = (high: number) => [...between, MOVK(high), RET]
    expect(constants(pair(code(1), code(2)))).toEqual([[between.length, 65536, 131072, false]])
  })
})

describe('filling', () => {
  test('other filling before an aligned place', () => {
    const before = [MOVZ(300), B(2), NOP, INC, BNE(-1), RET]
    const after = [MOVZ(302), B(3), NOP, NOP, INC, BNE(-1), RET]
    expect(constants(pair(before, after))).toEqual([[0, 300, 302, true]])
    expect(pair(before, after)?.instructions.map((i) => [i.before, i.after])).toEqual([
      [0, 0],
      [4, 4],
      [12, 16],
      [16, 20],
      [20, 24],
      [24, 28],
    ])
  })
})

describe('more than constants', () => {
  test.each([
    ['another register', [MOVZ(300), RET], [MOVZ(302) | 1, RET]],
    ['another width', [MOVZ(300), RET], [MOVZ(302) | 0x80000000, RET]],
    ['the other half of a register', [MOVZ(300), RET], [MOVZ(300) | 0x200000, RET]],
    ['a comparison', [COMPARE(300), RET], [COMPARE(302), RET]],
    ['a negated constant', [MOVZ(300) & ~0x40000000, RET], [MOVZ(302) & ~0x40000000, RET]],
    ['another condition', [BNE(1), RET], [BNE(1) | 2, RET]],
    ['a branch to another instruction', [BNE(1), RET, RET], [BNE(2), RET, RET]],
    ['a branch out of the code', [B(9), RET], [B(10), RET]],
    ['one instruction more', [MOVZ(300), RET], [MOVZ(302), INC, RET]],
    ['one instruction more for a larger constant', [MOVZ(65535), RET], [MOVZ(1), MOVK(1), RET]],
  ])('%s', (_name, before, after) => {
    expect(pair(before, after)).toBeUndefined()
  })

  test('a relocation on one side only', () => {
    expect(pair([BL, RET], [BL, RET], { before: [0], after: [0] })).toBeDefined()
    expect(pair([BL, RET], [BL, RET], { before: [0] })).toBeUndefined()
  })

  test('a constant that relocations fill', () => {
    expect(pair([MOVZ(0), RET], [MOVZ(302), RET], { before: [0], after: [0] })).toBeUndefined()
  })

  test('bytes that are no whole instructions', () => {
    const bytes = Uint8Array.of(1, 2, 3)
    expect(pairCode({ bytes, relocated: new Set() }, { bytes, relocated: new Set() })).toBeUndefined()
  })
})

test('code is itself, and any one changed bit is a difference, a constant, or no pair', () => {
  const code = [MOVZ(LOW), MOVK(HIGH), COMPARE(3), BNE(3), NOP, INC, BL, USE, RET]
  const relocated = { before: [24], after: [24] }
  expect(constants(pair(code, code, relocated))).toEqual([])
  fc.assert(
    fc.property(fc.nat(code.length - 1), fc.nat(31), (at, bit) => {
      const changed = code.map((word, i) => (i === at ? (word ^ (1 << bit)) >>> 0 : word))
      const pairing = pair(code, changed, relocated)
      if (pairing === undefined) return
      // Only in the two halves of the constant, or a branch to filling instead of to what follows it.
      expect(at <= 1 || at === 3).toBe(true)
      expect(pairing.constants.length).toBe(at <= 1 ? 1 : 0)
      for (const c of pairing.constants) expect(c.before).not.toBe(c.after)
    }),
    { numRuns: 3000 },
  )
})
