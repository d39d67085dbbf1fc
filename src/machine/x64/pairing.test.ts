import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CodePairing, pairedIndex } from '../pairing.ts'
import { pairCode } from './pairing.ts'

const pair = (before: readonly number[], after: readonly number[], relocated: { before?: number[]; after?: number[] } = {}) =>
  pairCode(
    { bytes: Uint8Array.from(before), relocated: new Set(relocated.before) },
    { bytes: Uint8Array.from(after), relocated: new Set(relocated.after) },
  )
const constants = (pairing: CodePairing | undefined) => pairing?.constants.map((c) => [c.index, Number(c.before), Number(c.after), c.loads])

const u32 = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255]
/** mov edx, value */
const LOAD = (value: number) => [0xba, ...u32(value)]
/** cmp edx, value */
const COMPARE = (value: number) => [0x81, 0xfa, ...u32(value)]
const RET = 0xc3
const NOP3 = [0x0f, 0x1f, 0x00]
const INC = [0xff, 0xc0]

describe('constants', () => {
  test('one that is only loaded', () => {
    expect(constants(pair([...INC, ...LOAD(300), RET], [...INC, ...LOAD(302), RET]))).toEqual([[1, 300, 302, true]])
  })

  test('one that is stored: mov dword [rsp + 8], value', () => {
    const store = (value: number) => [0xc7, 0x44, 0x24, 8, ...u32(value), RET]
    expect(constants(pair(store(300), store(302)))).toEqual([[0, 300, 302, true]])
  })

  test('one that is compared is told apart', () => {
    expect(constants(pair([...COMPARE(300), RET], [...COMPARE(302), RET]))).toEqual([[0, 300, 302, false]])
  })

  test('a push that grows from one byte to four', () => {
    const pairing = pair([0x6a, 126, RET], [0x68, ...u32(128), RET])
    expect(constants(pairing)).toEqual([[0, 126, 128, true]])
    expect(pairing?.instructions.map(({ before, after }) => [before, after])).toEqual([
      [0, 0],
      [2, 5],
      [3, 6],
    ])
  })

  test('the same value in another form is no difference', () => {
    expect(constants(pair([0x6a, 5, RET], [0x68, ...u32(5), RET]))).toEqual([])
  })
})

describe('what follows from a longer instruction', () => {
  test('a branch over it reaches further, also in its longer form', () => {
    const short = [0x74, 2, 0x6a, 126, RET]
    const longer = [0x74, 5, 0x68, ...u32(128), RET]
    const near = [0x0f, 0x84, 5, 0, 0, 0, 0x68, ...u32(128), RET]
    expect(constants(pair(short, longer))).toEqual([[1, 126, 128, true]])
    expect(constants(pair(short, near))).toEqual([[1, 126, 128, true]])
  })

  test('a branch that leads to another instruction is another branch', () => {
    expect(pair([0x74, 2, 0x6a, 126, RET, RET], [0x74, 6, 0x68, ...u32(128), RET, RET])).toBeUndefined()
  })

  test('other filling before an aligned place', () => {
    const before = [0x6a, 126, ...NOP3, 0x90, ...INC, 0xeb, 0xfc]
    const after = [0x68, ...u32(128), 0x90, ...INC, 0xeb, 0xfc]
    expect(constants(pair(before, after))).toEqual([[0, 126, 128, true]])
  })

  test('a branch to filling is one to what comes behind it', () => {
    expect(constants(pair([0xeb, 0, ...NOP3, ...INC, RET], [0xeb, 3, ...NOP3, ...INC, RET]))).toEqual([])
  })
})

describe('more than constants', () => {
  test.each([
    ['another register', [...LOAD(300), RET], [0xb9, ...u32(302), RET]],
    ['another operation', [...COMPARE(300), RET], [0x81, 0xc2, ...u32(300), RET]],
    ['another condition', [0x74, 0, RET], [0x75, 0, RET]],
    ['a displacement: mov eax, [rdi + 8]', [0x8b, 0x47, 8, RET], [0x8b, 0x47, 16, RET]],
    ['one instruction more', [...LOAD(300), RET], [...LOAD(302), ...INC, RET]],
    ['bytes that are no instruction', [...LOAD(300), RET, 6], [...LOAD(302), RET, 6]],
    ['a branch out of the code', [0xe9, 100, 0, 0, 0], [0xe9, 101, 0, 0, 0]],
    ['a place beside the code: lea rax, [rip + x]', [0x48, 0x8d, 0x05, ...u32(0), RET], [0x48, 0x8d, 0x05, ...u32(1), RET]],
  ])('%s', (_name, before, after) => {
    expect(pair(before, after)).toBeUndefined()
  })

  test('a relocation on one side only', () => {
    const code = [0xe8, 0, 0, 0, 0, RET]
    expect(pair(code, code, { before: [1], after: [1] })).toBeDefined()
    expect(pair(code, code, { before: [1] })).toBeUndefined()
  })

  test('a constant that a relocation fills on one side only', () => {
    expect(pair([...LOAD(0), RET], [...LOAD(302), RET], { before: [1] })).toBeUndefined()
  })
})

test('code is itself, and any one changed byte is a difference, a constant, or no pair', () => {
  const code = [...LOAD(300), ...COMPARE(300), 0x74, 0x05, 0x6a, 126, ...NOP3, ...INC, 0xe8, 0, 0, 0, 0, 0x48, 0x8b, 0x05, ...u32(0), RET]
  const relocated = { before: [22, 29], after: [22, 29] }
  expect(constants(pair(code, code, relocated))).toEqual([])
  fc.assert(
    fc.property(fc.nat(code.length - 1), fc.nat(255), (at, byte) => {
      const changed = [...code]
      changed[at] = byte
      const pairing = pair(code, changed, relocated)
      if (pairing === undefined || code[at] === byte) return
      // Filling is no instruction, and what leads to it leads behind it.
      const filling = at >= 15 && at < 18
      expect(pairing.constants.length === 1 || filling || at === 12).toBe(true)
      for (const c of pairing.constants) expect(c.before).not.toBe(c.after)
    }),
    { numRuns: 3000 },
  )
})

test('an offset finds its instruction, or the next behind filling', () => {
  const pairing = pair([...INC, ...NOP3, ...INC, RET], [...INC, ...NOP3, ...INC, RET]) as CodePairing
  expect([0, 2, 3, 5, 7, 8].map((at) => pairedIndex(pairing, 'before', at))).toEqual([0, 1, 1, 1, 2, 3])
})
