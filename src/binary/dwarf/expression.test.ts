import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { evaluateExpression } from './expression.ts'

const context = (registers: Record<number, bigint>, memory: Record<string, bigint> = {}) => ({
  register: (n: number) => registers[n],
  memory: (address: bigint, size: number) => {
    const value = memory[address.toString(16)]
    return value === undefined ? undefined : BigInt.asUintN(size * 8, value)
  },
})
const run = (bytes: number[], registers: Record<number, bigint> = {}, memory = {}, initial: bigint[] = []) =>
  evaluateExpression(Uint8Array.from(bytes), context(registers, memory), initial)

/** rsp + 8 + ((rip & 15) >= 11) << 3: what ld writes for a PLT of 16-byte entries that push at their 11th byte. */
const plt = [0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22]

describe('DWARF expressions', () => {
  test('the PLT: one word more on the stack from the 11th byte of an entry on', () => {
    expect(run(plt, { 7: 0x7ffe1000n, 16: 0x401020n })).toBe(0x7ffe1008n)
    expect(run(plt, { 7: 0x7ffe1000n, 16: 0x40102bn })).toBe(0x7ffe1010n)
  })

  test('a signal frame: the saved register lies in the ucontext', () => {
    expect(run([0x77, 0xa0, 1, 0x06], { 7: 0x1000n }, { '10a0': 0xdeadbeefn })).toBe(0xdeadbeefn)
  })

  test('what it starts with: the CFA', () => {
    expect(run([0x23, 0x10], {}, {}, [0x2000n])).toBe(0x2010n)
  })

  test('an unknown register or unreadable memory gives nothing, not a guess', () => {
    expect(run([0x70, 0])).toBeUndefined()
    expect(run([0x3f, 0x06])).toBeUndefined()
  })

  test('arithmetic is 64 bits wide and signed where DWARF says so', () => {
    expect(run([0x09, 0xff, 0x31, 0x22])).toBe(0n) // -1 + 1
    expect(run([0x09, 0xf8, 0x32, 0x1b])).toBe(0xfffffffffffffffcn) // -8 / 2
    expect(run([0x09, 0xf8, 0x31, 0x26])).toBe(0xfffffffffffffffcn) // -8 >> 1, arithmetic
    expect(run([0x31, 0x30, 0x1b])).toBeUndefined() // division by zero
  })

  test('a loop ends', () => {
    expect(() => run([0x31, 0x2f, 0xfc, 0xff])).toThrow(/does not end|fills its stack/)
  })

  test('any bytes give a value, nothing, or one clear error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          const value = evaluateExpression(bytes, context({ 6: 0x7000n, 7: 0x8000n, 16: 0x401000n }), [0x9000n])
          if (value !== undefined) expect(value >= 0n && value < 1n << 64n).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
      { numRuns: 3000 },
    )
  })
})
