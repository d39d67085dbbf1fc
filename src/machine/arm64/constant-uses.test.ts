import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { constantUses } from './constant-uses.ts'
import { wordsOf } from './instructions.ts'

const SIZE = 1208
const movz = (register: number, value: number): number => (0xd2800000 | (value << 5) | register) >>> 0
const [BL, RET, NOP] = [0x94000000, 0xd65f03c0, 0xd503201f]
/** LDR Xt, [Xn]. */
const ldr = (to: number, from: number): number => (0xf9400000 | (from << 5) | to) >>> 0
const blr = (register: number): number => (0xd63f0000 | (register << 5)) >>> 0
const br = (register: number): number => (0xd61f0000 | (register << 5)) >>> 0
const uses = (...words: readonly number[]) =>
  constantUses(wordsOf(words), SIZE).map(({ namedBy, zeroSecond, isItsArgument }) => ({
    namedBy: namedBy.map(({ offset }) => offset / 4),
    zeroSecond,
    isItsArgument,
  }))

describe('a number in ARM64 code', () => {
  test('is an argument of the call behind it: by name, through a variable, through a slot', () => {
    expect(uses(movz(1, SIZE), movz(0, 1), BL)).toEqual([{ namedBy: [2], zeroSecond: false, isItsArgument: true }])
    // curl: adrp x24, ldr x24 (GOT), mov x1, mov x0, ldr x2, blr x2
    expect(uses(0x90000018, ldr(24, 24), movz(1, SIZE), movz(0, 1), ldr(2, 24), blr(2))).toEqual([
      { namedBy: [5, 4, 1], zeroSecond: false, isItsArgument: true },
    ])
    expect(uses(ldr(2, 3), movz(1, SIZE), br(2))).toEqual([{ namedBy: [2, 0], zeroSecond: false, isItsArgument: true }])
  })

  test('that is filled with zero: by a move, or from the zero register, and not when that is written again', () => {
    expect(uses(movz(2, SIZE), movz(1, 0), BL)).toMatchObject([{ zeroSecond: true, isItsArgument: true }])
    expect(uses(movz(2, SIZE), 0x2a1f03e1, BL)).toMatchObject([{ zeroSecond: true }])
    expect(uses(movz(1, 0), movz(2, SIZE), movz(1, 7), BL)).toMatchObject([{ zeroSecond: false }])
    expect(uses(movz(2, SIZE), BL, movz(1, 0))).toMatchObject([{ zeroSecond: false }])
  })

  test('is none of a call that it does not reach alone', () => {
    // mov x20, x1; mul x1, x1, x0; add x1, x1, #16
    for (const other of [0xaa0103f4, 0x9b007c21, 0x91004021])
      expect(uses(movz(1, SIZE), other, BL)).toMatchObject([{ isItsArgument: false }])
    // In a register that outlives the call.
    expect(uses(movz(20, SIZE), BL)).toMatchObject([{ isItsArgument: false }])
    // cbz x0, behind the call
    expect(uses(movz(1, SIZE), 0xb4000040, BL, RET)).toEqual([{ namedBy: [], zeroSecond: false, isItsArgument: false }])
    // Something leads between: b.eq to the call; a switch.
    expect(uses(movz(1, SIZE), NOP, BL, 0x54ffffe0, RET)).toMatchObject([{ isItsArgument: false }])
    expect(uses(br(3), movz(1, SIZE), BL, RET)).toMatchObject([{ isItsArgument: false }])
  })

  test.each([
    ['add x0, x0, #1208', 0x9112e000],
    ['subs x0, x0, #1208', 0xf112e000],
    ['cmp x0, #1208', 0xf112e01f],
  ])('is computed with: %s', (_text, word) => expect(uses(word, BL)).toMatchObject([{ isItsArgument: false }]))

  test('is what a load or store adds to its register', () => {
    const sizes = (word: number, size: number) => constantUses(wordsOf([word, RET]), size).length
    // ldr x0, [x1], #208; str w0, [x1, #-208]!; ldp x2, x3, [x1], #496; stp q0, q1, [x0, #-992]!
    expect([sizes(0xf84d0420, 208), sizes(0xb8130c20, 208), sizes(0xa8df0c22, 496), sizes(0xada10400, 992)]).toEqual([1, 1, 1, 1])
    // ldr x0, [x1, #208]: a member.
    expect(sizes(0xf9406820, 208)).toBe(0)
  })

  test('is none where it is the size of a frame', () => {
    // sub sp, sp, #1208; add x0, sp, #1208; add sp, sp, #1208
    expect(uses(0xd112e3ff, 0x9112e3e0, 0x9112e3ff, RET)).toEqual([])
  })

  test('of more than 16 bits comes from several moves', () => {
    fc.assert(
      fc.property(fc.nat(0xffff), fc.integer({ min: 1, max: 0xffff }), fc.nat(7), (low, high, register) => {
        const movk = ((movz(register, high) | 0x20000000) >>> 0) | 0x00200000
        const found = constantUses(wordsOf([movz(register, low), movk >>> 0, BL]), high * 65536 + low)
        expect(found.map(({ isItsArgument }) => isItsArgument)).toEqual([true])
      }),
    )
  })

  test('is found in whatever words, or refused, without failing', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(0xffffffff), { maxLength: 40 }), fc.integer({ min: 128, max: 0x1fff }), (words, value) => {
        for (const { namedBy } of constantUses(wordsOf(words), value))
          for (const { offset } of namedBy) expect(offset / 4).toBeLessThan(words.length)
      }),
    )
  })
})
