import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { constantsIn } from './constants.ts'
import { wordsOf } from './instructions.ts'

const movz = (register: number, part: number, half = 0, wide = 0): number =>
  ((wide << 31) | 0x52800000 | (half << 21) | (part << 5) | register) >>> 0
const movk = (register: number, part: number, half: number, wide = 0): number => (movz(register, part, half, wide) | 0x20000000) >>> 0
/** EOR w0, w0, w2; RET. */
const EOR_W2 = 0x4a020000
const RET = 0xd65f03c0
const inCode = (...words: readonly number[]): bigint[] => constantsIn(wordsOf(words))

describe('the constants of code', () => {
  test('are what MOVZ and MOVKs put together', () => {
    fc.assert(
      fc.property(fc.nat(0xffff), fc.nat(0xffff), fc.nat(31), (low, high, register) => {
        expect(inCode(movz(register, low), movk(register, high, 1))).toEqual([BigInt((high << 16) | low)])
      }),
    )
    expect(inCode(movz(2, 0x1111, 0, 1), movk(2, 0x2222, 1, 1), movk(2, 0x3333, 2, 1), movk(2, 0x4444, 3, 1), RET)).toEqual([
      0x4444333322221111n,
    ])
  })

  test('are whole where others are loaded between their parts', () => {
    expect(inCode(movz(2, 0x9843), movz(7, 0x2d51), movk(2, 0x432a, 1), movk(7, 0x4c9e, 1), EOR_W2)).toEqual([0x432a9843n, 0x4c9e2d51n])
  })

  test('are those that were used before a part changed', () => {
    expect(inCode(movz(2, 1), movk(2, 2, 1), EOR_W2, movk(2, 3, 1), RET)).toEqual([0x20001n])
    expect(inCode(movz(2, 1), movk(2, 2, 1), movz(2, 3), RET)).toEqual([0x20001n, 3n])
  })

  test.each([
    [0x3200cfe0, 0x0f0f0f0fn],
    [0xb200f3e3, 0x5555555555555555n],
    [0x32113fe1, 0x7fff8000n],
    [0xb2545fe2, BigInt.asIntN(64, 0xfffff0000000000fn)],
    [0x3202cfe4, BigInt.asIntN(32, 0xc3c3c3c3n)],
    [0x12800000, -1n],
    [0x92800020, -2n],
  ])('moved by %i', (word, value) => expect(inCode(word)).toEqual([value]))

  test('are none in what is not loaded', () => expect(inCode(EOR_W2, movk(2, 7, 1), RET)).toEqual([]))
})
