import { describe, expect, test } from 'vitest'
import type { Surroundings } from '../redirect.ts'
import { decodeWord, placedIn, wordsOf } from './instructions.ts'
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

test('a function is redirected over its first instruction where its table is read and does not lead there', () => {
  const code = wordsOf(WITH_BYTES)
  const site = { before: new Uint8Array(), padding: 0, code, size: code.length }
  expect(decodeWord(ADR_X0)).toMatchObject({ form: 'adr', distance: 12 })
  expect(planRedirect(site)).toMatchObject({ refused: 'REDIRECT_UNSAFE' })
  expect(planRedirect({ ...site, around: around([0, 1, 2, 0], 1) })).toMatchObject({ kind: 'first-bytes' })
  expect(planRedirect({ ...site, around: around(FOUR, 1) })).toMatchObject({ refused: 'REDIRECT_UNSAFE' })
})
