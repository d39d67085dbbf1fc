import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { type CfaProgram, cfaRows } from './cfa.ts'

const RSP = 7
const RBP = 6
const RA = 16

/** gcc's CIE for x86-64: CFA = rsp + 8, return address at CFA - 8. */
const cie = Uint8Array.from([0x0c, RSP, 8, 0x80 | RA, 1])
const program = (size: number, ...instructions: number[]): CfaProgram => ({
  codeAlignment: 1,
  dataAlignment: -8,
  initialInstructions: cie,
  instructions: Uint8Array.from(instructions),
  size,
})
const summary = (p: CfaProgram) =>
  cfaRows(p).map(({ start, cfa, registers }) => [
    start,
    cfa.kind === 'register' ? `r${cfa.register}+${cfa.offset}` : 'expression',
    [...registers].map(([register, rule]) => `r${register}:${rule.kind === 'offset' ? rule.offset : rule.kind}`).join(' '),
  ])

describe('rows of unwind data', () => {
  test('push rbp; mov rbp, rsp; …; leave; ret', () => {
    // advance 1; CFA offset 16; rbp at CFA-16; advance 3; CFA register rbp; advance 20; CFA = rsp + 8
    expect(summary(program(25, 0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, RBP, 0x54, 0x0c, RSP, 8))).toEqual([
      [0, 'r7+8', 'r16:-8'],
      [1, 'r7+16', 'r16:-8 r6:-16'],
      [4, 'r6+16', 'r16:-8 r6:-16'],
      [24, 'r7+8', 'r16:-8 r6:-16'],
    ])
  })

  test('a remembered state comes back whole, the CFA too', () => {
    expect(summary(program(30, 0x44, 0x0e, 48, 0x0a, 0x44, 0x0e, 8, 0xc6, 0x44, 0x0b)).map((row) => row[1])).toEqual([
      'r7+8',
      'r7+48',
      'r7+8',
      'r7+48',
    ])
  })

  test('a PLT has its CFA as an expression', () => {
    const plt = [0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22]
    expect(summary(program(16, ...plt))).toEqual([[0, 'expression', 'r16:-8']])
  })

  test('undefined return address: the end of the stack', () => {
    expect(summary(program(16, 0x07, RA))[0]?.[2]).toBe('r16:undefined')
  })

  test.each([
    ['a row past the function', program(4, 0x45, 0x0e, 16)],
    ['a state that was not remembered', program(4, 0x0b)],
    ['an unknown instruction', program(4, 0x3f)],
    ['an offset of a CFA that is an expression', program(4, 0x0f, 1, 0x30, 0x0e, 8)],
    ['an expression cut off', program(4, 0x0f, 200, 0x30)],
  ])('refuses %s', (_name, p) => {
    expect(() => cfaRows(p)).toThrow(HotpatchError)
  })

  test('any instructions give rows in order, or one clear error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.integer({ min: 0, max: 4096 }), (instructions, size) => {
        try {
          const rows = cfaRows({ ...program(size), instructions })
          expect(rows[0]?.start).toBe(0)
          for (let i = 1; i < rows.length; i++) expect(rows[i]?.start).toBeGreaterThan(rows[i - 1]?.start ?? 0)
          expect(rows.at(-1)?.start).toBeLessThanOrEqual(size)
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})
