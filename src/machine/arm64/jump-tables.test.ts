import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Surroundings } from '../redirect.ts'
import { decodeWord, mayWrite, placedIn, wordsOf } from './instructions.ts'
import { jumpTables } from './jump-tables.ts'
import { planRedirect } from './redirect.ts'

/** As gcc 12 allots them: w0 is the index, x1 the table and then the target, x0 the base. */
const CMP_W0_3 = 0x71000c1f
const CMP_W2_3 = 0x71000c5f
const AND_W0_3 = 0x12000400
const MOV_W0_W2 = 0x2a0203e0
const MOV_X1_X2 = 0xaa0203e1
const LDR_X1_PUSHED = 0xf8408441
const ADRP_X1 = 0xb0000001
const ADD_X1 = 0x91008021
const LDRB = 0x38604821
const LDRH = 0x78605821
const LDR_W = 0xb8605821
const ADD_SXTB = 0x8b218801
const ADD_SXTH = 0x8b21a801
const ADD_SXTW = 0x8b21c801
const BR_X1 = 0xd61f0020
const BR_X16 = 0xd61f0200
const BL = 0x94000400
const RET = 0xd65f03c0
const NOP = 0xd503201f
const branch = (condition: number, distance: number): number => (0x54000000 | (((distance / 4) & 0x7ffff) << 5) | condition) >>> 0
const hi = (distance: number): number => branch(8, distance)
const ls = (distance: number): number => branch(9, distance)
const lo = (distance: number): number => branch(3, distance)
const b = (distance: number): number => (0x14000000 | ((distance / 4) & 0x3ffffff)) >>> 0
/** ADR x0: what follows the jump. */
const ADR_X0 = 0x10000060

/** The page behind the function's own, and 0x20 in it: what ADRP_X1 and ADD_X1 say. */
const TABLE = 0x1020

/** Whose entry lies so far in its page, with a table of such distances, in words. */
function around(distances: readonly number[], width: 1 | 2 | 4, inPage = 0): Surroundings {
  const bytes = new Uint8Array(distances.length * width)
  const view = new DataView(bytes.buffer)
  for (const [i, distance] of distances.entries()) {
    if (width === 1) view.setInt8(i, distance)
    else if (width === 2) view.setInt16(i * 2, distance, true)
    else view.setInt32(i * 4, distance, true)
  }
  const start = TABLE - inPage
  return {
    inPage,
    read: (offset, length) => {
      const from = offset - start
      return from >= 0 && from + length <= bytes.length ? bytes.subarray(from, from + length) : undefined
    },
  }
}

const FOUR = [0, 1, 2, -8] as const
const tablesOf = (words: readonly number[], image: Surroundings, branchTargets: readonly number[] = []) =>
  jumpTables(placedIn(wordsOf(words)), image, branchTargets).map(({ adr, targets }) => ({ adr: adr.offset, targets }))

/** From the entry on: cmp, b.hi, adrp, add, load, adr, add, br; then what the table leads to. */
const WITH_BYTES = [CMP_W0_3, hi(40), ADRP_X1, ADD_X1, LDRB, ADR_X0, ADD_SXTB, BR_X1, NOP, NOP, RET]
const changed = (index: number, ...words: readonly number[]): number[] => [
  ...WITH_BYTES.slice(0, index),
  ...words,
  ...WITH_BYTES.slice(index + 1),
]

describe('a table is read', () => {
  test.each([
    ['of bytes', LDRB, ADD_SXTB, 1],
    ['of 16 bits', LDRH, ADD_SXTH, 2],
    ['of 32 bits', LDR_W, ADD_SXTW, 4],
  ] as const)('%s', (_, load, add, width) => {
    const words = [CMP_W0_3, hi(40), ADRP_X1, ADD_X1, load, ADR_X0, add, BR_X1, NOP, NOP, RET]
    expect(tablesOf(words, around(FOUR, width))).toEqual([{ adr: 20, targets: [32, 36, 40, 0] }])
  })

  test('behind a branch over the default', () => {
    const words = [CMP_W0_3, ls(8), RET, ADRP_X1, ADD_X1, LDRH, ADR_X0, ADD_SXTH, BR_X1, NOP, NOP, RET]
    expect(tablesOf(words, around([0, 1, 2, -9], 2))).toEqual([{ adr: 24, targets: [36, 40, 44, 0] }])
    expect(tablesOf(words, around([0, 1, 2, -8], 2))).toEqual([])
  })

  test('whose index is masked, between the instructions that compute where it is', () => {
    const words = [ADRP_X1, AND_W0_3, ADD_X1, LDRB, ADR_X0, ADD_SXTB, BR_X1, NOP, NOP, RET]
    expect(tablesOf(words, around([0, 1, 2, 1], 1))).toEqual([{ adr: 16, targets: [28, 32, 36, 32] }])
  })

  test('of a function whose ADRP lies in the next page already', () => {
    const words = [NOP, ...WITH_BYTES]
    const image = { ...around(FOUR, 1), inPage: 0xff8 }
    // The entry is at 0xff8 of its page, the ADRP at 0x1004: its page is the next one, the table's the one behind.
    const seen: number[] = []
    jumpTables(placedIn(wordsOf(words)), { ...image, read: (offset) => void seen.push(offset) }, [])
    expect(seen).toEqual([0x2020 - 0xff8])
  })

  test('beside another', () => {
    const words = [...changed(1, hi(60)).slice(0, 8), ...WITH_BYTES]
    expect(tablesOf(words, around([0, 1, 0, 0], 1))).toHaveLength(1)
    expect(tablesOf(words, around([0, 0, 0, 0], 1))).toHaveLength(2)
  })
})

describe('a table is not read', () => {
  test.each([
    ['whose index is compared in another way', changed(1, lo(40))],
    ['whose index is not what was compared', changed(0, CMP_W2_3)],
    ['whose index is written behind the comparison', changed(2, MOV_W0_W2, ADRP_X1)],
    ['whose address is not as it was computed', changed(3, ADD_X1, MOV_X1_X2)],
    ['whose page is not as it was computed', changed(2, ADRP_X1, MOV_X1_X2)],
    ['whose register is an address that moves', changed(3, ADD_X1, LDR_X1_PUSHED)],
    ['behind a call', changed(2, BL, ADRP_X1)],
    ['into which something jumps behind the comparison', changed(8, b(-20))],
    ['into which something jumps right before the branch', changed(8, b(-28))],
    ['whose base is not what the jump adds to', changed(6, 0x8b218841)],
    ['whose jump is another', changed(7, BR_X16)],
    ['that is compared nowhere', [ADRP_X1, ADD_X1, LDRB, ADR_X0, ADD_SXTB, BR_X1, NOP, NOP, RET]],
    ['whose default runs on into it', [CMP_W0_3, ls(8), NOP, ADRP_X1, ADD_X1, LDRB, ADR_X0, ADD_SXTB, BR_X1, NOP, NOP, RET]],
    ['to which two branches lead', [CMP_W0_3, ls(8), RET, ADRP_X1, ADD_X1, LDRB, ADR_X0, ADD_SXTB, BR_X1, NOP, ls(-28), RET]],
  ])('%s', (_, words) => expect(tablesOf(words, around([0, 1, 2, 0], 1))).toEqual([]))

  test('that leads out of the function, or is not in the image', () => {
    expect(tablesOf(WITH_BYTES, around([0, 1, 2, 3], 1))).toEqual([])
    expect(tablesOf(WITH_BYTES, around([0, 1, 2, -9], 1))).toEqual([])
    expect(tablesOf(WITH_BYTES, around([0, 1, 2], 1))).toEqual([])
  })

  test('into whose row a table leads, or something from elsewhere', () => {
    expect(tablesOf(WITH_BYTES, around([0, 1, 2, -7], 1))).toEqual([])
    expect(tablesOf(WITH_BYTES, around(FOUR, 1), [8])).toEqual([])
    expect(tablesOf(WITH_BYTES, around(FOUR, 1), [32])).toHaveLength(1)
  })
})

/** adrp x19; add x19; cbz x2 (out); cmp w0, #3; b.hi (out); ldrb w1, [x19, w0, uxtw]; adr x0; add x1; br x1; nop; b (cmp); ldp x19, x20, [sp, #16]; ret */
const LDRB_X19 = 0x38604a61
const [ADRP_X19, ADD_X19] = [ADRP_X1 | 19, 0x91008273]
const RESTORE_X19 = 0xa94153f3
const HOISTED = [ADRP_X19, ADD_X19, 0xb4000122, CMP_W0_3, hi(28), LDRB_X19, ADR_X0, ADD_SXTB, BR_X1, NOP, b(-28), RESTORE_X19, RET].map(
  (word) => word >>> 0,
)
const hoisted = (index: number, word: number): number[] => HOISTED.map((old, i) => (i === index ? word : old))
const CASES = [0, 1, 1, 0] as const

describe('a table whose address was computed before', () => {
  test('is read where its register is given nothing else but what the caller had in it', () => {
    expect(tablesOf(HOISTED, around(CASES, 1))).toEqual([{ adr: 24, targets: [36, 40, 40, 36] }])
  })

  test.each([
    ['is given another address as well', hoisted(9, ADD_X19)],
    ['is loaded from the stack within', hoisted(9, RESTORE_X19)],
    ['is loaded from elsewhere', hoisted(9, 0xf9400013)],
    ['is copied', hoisted(9, 0xaa0003f3)],
    ['has a page from elsewhere', hoisted(0, NOP)],
    ['is led to between page and rest', hoisted(9, b(-32))],
    [
      'holds an argument',
      HOISTED.map((word) => ({ [ADRP_X19 >>> 0]: ADRP_X1 + 3, [ADD_X19]: 0x91008063, [LDRB_X19]: 0x38604861 })[word] ?? word),
    ],
  ])('is not read where the register %s', (_what, words) => expect(tablesOf(words, around(CASES, 1))).toEqual([]))

  test('is not read where something leads into the function', () => expect(tablesOf(HOISTED, around(CASES, 1), [40])).toEqual([]))

  test('is read beside whatever else is done, and never beside what may write the register', () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), (word) => {
        const { flow, form } = decodeWord(word)
        fc.pre(flow === 'next' && form !== 'adr')
        const read = tablesOf(hoisted(9, word), around(CASES, 1)).length > 0
        expect(read).toBe(!mayWrite(word, 19))
      }),
      { numRuns: 2000 },
    )
  })
})

/** cmp w2, #3; b.hi; mov w8, w2; adrp x1; add x1; adr x9; ldrb w10, [x1, x8]; add x9, x9, x10, lsl #2; br x9; three cases; ret */
const CLANG = [CMP_W2_3, hi(48), 0x2a0203e8, ADRP_X1, ADD_X1, 0x10000089, 0x3868682a, 0x8b0a0929, 0xd61f0120, NOP, NOP, NOP, RET]
const clang = (index: number, word: number): number[] => CLANG.map((old, i) => (i === index ? word : old))

describe('a table of clang', () => {
  test('has distances without a sign, and an index without an upper half', () => {
    expect(tablesOf(CLANG, around([0, 1, 2, 3], 1))).toEqual([{ adr: 20, targets: [36, 40, 44, 48] }])
    expect(tablesOf(CLANG, around([0, 1, 2, 0xfe - 0x100], 1))).toEqual([])
    // mov x8, x2: what is above is not known; cmp x2 knows.
    expect(tablesOf(clang(2, 0xaa0203e8), around([0, 1, 2, 3], 1))).toEqual([])
    expect(tablesOf(clang(2, 0xaa0203e8).with(0, 0xf1000c5f), around([0, 1, 2, 3], 1))).toHaveLength(1)
  })

  test('is not read where the copy is one of something else, or is written again', () => {
    expect(tablesOf(clang(2, 0x2a0303e8), around([0, 1, 2, 3], 1))).toEqual([])
    expect(tablesOf(clang(3, 0x52800008), around([0, 1, 2, 3], 1))).toEqual([])
  })
})

describe('an index that is compared in another register', () => {
  /** mov w0, w2; nop; cmp w2, #3; b.hi; adrp, add, ldrb [x1, w0], adr, add, br; three cases; ret */
  const copied = [MOV_W0_W2, NOP, CMP_W2_3, hi(44), ADRP_X1, ADD_X1, LDRB, ADR_X0, ADD_SXTB, BR_X1, NOP, NOP, NOP, RET]
  const image = around([0, 1, 2, 3], 1)

  test('is known by the copy in front', () => expect(tablesOf(copied, image)).toEqual([{ adr: 28, targets: [40, 44, 48, 52] }]))

  test.each([
    // mov w2, #1; mov w0, #1; bl
    ['that one is written behind it', copied.with(1, 0x52800022)],
    ['the index is written behind it', copied.with(1, 0x52800020)],
    ['a call comes between', copied.with(1, BL)],
    ['something leads behind it', copied.with(11, b(-40))],
    ['it is a copy of something else', copied.with(0, 0x2a0303e0)],
  ])('is not where %s', (_what, words) => expect(tablesOf(words, image)).toEqual([]))

  test('is not where a table or something from elsewhere leads behind it', () => {
    expect(tablesOf(copied, around([0, 1, 2, -9], 1))).toEqual([])
    expect(tablesOf(copied, image, [4])).toEqual([])
  })
})

test('the page of a table may be in an ADR, as GNU ld writes it against an erratum', () => {
  // adr x1, 0x1000 from offset 8.
  const words = changed(2, 0x10000001 | ((0xff8 >> 2) << 5))
  expect(tablesOf(words, around(FOUR, 1))).toEqual([{ adr: 20, targets: [32, 36, 40, 0] }])
})

test('a function is redirected over its first instruction where its table is read and does not lead there', () => {
  const code = wordsOf(WITH_BYTES)
  const site = { before: new Uint8Array(), padding: 0, code, size: code.length }
  expect(decodeWord(ADR_X0)).toMatchObject({ form: 'adr', distance: 12 })
  expect(planRedirect(site)).toMatchObject({ refused: 'REDIRECT_UNSAFE' })
  expect(planRedirect({ ...site, around: around([0, 1, 2, 0], 1) })).toMatchObject({ kind: 'first-bytes' })
  expect(planRedirect({ ...site, around: around(FOUR, 1) })).toMatchObject({ refused: 'REDIRECT_UNSAFE' })
})
