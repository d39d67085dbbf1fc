import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RedirectPlan, RedirectRefusal } from '../redirect.ts'
import { hasErratum843419 } from './code.ts'
import { AUTIASP, AUTIBSP, BTI_C, decodeWord, NOP, PACIASP, PACIBSP, wordAt, wordsOf } from './instructions.ts'
import { encodeRedirect, landing, planRedirect } from './redirect.ts'
import { assemble, FAR_JUMP, HPAT_STUB, hpatCodePage, type Line, POINTER_JUMP } from './stubs.ts'

const RET = 0xd65f03c0
const SUB_SP = 0xd10043ff
const MOV = 0xaa0103e0
const STP = 0xa9be7bfd
const LDP = 0xa8c27bfd
const LDP_16 = 0xa8c17bfd
const LDP_19_20 = 0xa8c253f3
const STP_0_1 = 0xa9be07e0
const LDP_0_1 = 0xa8c207e0
/** x19. */
const STR = 0xf81f0ff3
const LDR = 0xf84107f3
const SVC = 0xd4000001
const BRK = 0xd4200000
/** B to a distance in bytes. */
const b = (distance: number): number => (0x14000000 | ((distance / 4) & 0x3ffffff)) >>> 0
const bl = (distance: number): number => (0x94000000 | ((distance / 4) & 0x3ffffff)) >>> 0
/** CBZ x0, TBZ x0 #0, B.EQ, ADR x1, LDR x1 (literal). */
const cbz = (distance: number): number => (0xb4000000 | (((distance / 4) & 0x7ffff) << 5)) >>> 0
const tbz = (distance: number): number => (0x36000000 | (((distance / 4) & 0x3fff) << 5)) >>> 0
const adr = (distance: number): number => (0x10000001 | (((distance >> 2) & 0x7ffff) << 5)) >>> 0
const literal = (distance: number): number => (0x58000001 | (((distance / 4) & 0x7ffff) << 5)) >>> 0
const BR = 0xd61f0020

const plan = (words: readonly number[], branchTargets: readonly number[] = []): RedirectPlan | RedirectRefusal => {
  const code = wordsOf(words)
  return planRedirect({ before: new Uint8Array(), padding: 0, code, size: code.length, branchTargets })
}

describe('a plan', () => {
  test.each([
    ['over the first instruction', [STP, MOV, RET], { kind: 'first-bytes', switch: { offset: 0, length: 4 }, safeWhileRunning: false }],
    [
      'over a nop, which may change under a running thread',
      [NOP, MOV, RET],
      { kind: 'entry-nops', switch: { offset: 0, length: 4 }, safeWhileRunning: true },
    ],
    ['over a branch, likewise', [b(0x1000)], { kind: 'first-bytes', switch: { offset: 0, length: 4 }, safeWhileRunning: true }],
    ['behind bti c', [BTI_C, STP, RET], { switch: { offset: 4, length: 4 } }],
    ['behind bti c, over a nop before paciasp', [BTI_C, NOP, PACIASP, RET], { kind: 'entry-nops', switch: { offset: 4, length: 4 } }],
    ['behind paciasp', [PACIASP, STP, RET], { switch: { offset: 4, length: 4 }, guard: [{ start: 4, end: 8 }] }],
    ['behind pacibsp', [PACIBSP, STP, RET], { switch: { offset: 4, length: 4 } }],
    ['where it calls itself', [STP, bl(-4), RET], { switch: { offset: 0, length: 4 } }],
    ['where it jumps elsewhere in itself', [STP, MOV, b(-4), RET], { switch: { offset: 0, length: 4 } }],
    ['where a call is the first instruction: it returns behind it', [bl(64), RET], { switch: { offset: 0, length: 4 } }],
    ['where it jumps through a table and lowers the stack first', [SUB_SP, adr(8), BR, RET], { switch: { offset: 0, length: 4 } }],
    ['where it calls itself last, its frame gone', [STP, MOV, LDP, b(-12)], { switch: { offset: 0, length: 4 } }],
    ['likewise with one register', [STR, MOV, LDR, b(-12)], { switch: { offset: 0, length: 4 } }],
    ['likewise with a signed return address', [PACIASP, STP, MOV, LDP, AUTIASP, b(-20)], { switch: { offset: 4, length: 4 } }],
    ['likewise behind its landing pad', [BTI_C, STP, MOV, LDP, b(-12)], { switch: { offset: 4, length: 4 } }],
    ['where a tail call goes through a register', [MOV, BR], { switch: { offset: 0, length: 4 } }],
  ] as const)('%s', (_, words, expected) => expect(plan(words)).toMatchObject(expected))

  test.each([
    ['nothing', [], 'FUNCTION_TOO_SHORT'],
    ['a landing pad alone', [BTI_C], 'FUNCTION_TOO_SHORT'],
    ['a loop to the entry', [MOV, cbz(-4), RET], 'REDIRECT_UNSAFE'],
    ['a loop to the entry by tbz', [MOV, tbz(-4), RET], 'REDIRECT_UNSAFE'],
    ['a jump to itself', [b(0)], 'REDIRECT_UNSAFE'],
    ['a loop to the landing pad', [BTI_C, MOV, b(-8)], 'REDIRECT_UNSAFE'],
    ['a loop behind the landing pad', [BTI_C, MOV, b(-4)], 'REDIRECT_UNSAFE'],
    ['a loop behind what pops other registers', [STP, MOV, LDP_19_20, b(-12)], 'REDIRECT_UNSAFE'],
    ['a loop behind what pops another distance', [STP, MOV, LDP_16, b(-12)], 'REDIRECT_UNSAFE'],
    ['a loop that pushes a register of its own', [STP_0_1, MOV, LDP_0_1, b(-12)], 'REDIRECT_UNSAFE'],
    ['a loop that pops before another instruction', [STP, LDP, MOV, b(-12)], 'REDIRECT_UNSAFE'],
    ['a branch behind the frame', [STP, MOV, LDP, cbz(-12), RET], 'REDIRECT_UNSAFE'],
    ['a system call at the entry', [SVC, RET], 'REDIRECT_UNSAFE'],
    ['a breakpoint at the entry', [BRK, RET], 'REDIRECT_UNSAFE'],
    ['a switch whose table may lead to the entry', [MOV, adr(8), BR, RET], 'REDIRECT_UNSAFE'],
    ['data in the first instruction', [MOV, literal(-4), RET], 'REDIRECT_UNSAFE'],
    ['a copy that can be interrupted', [0x1d010440, RET], 'REDIRECT_UNSAFE'],
  ] as const)('is none for %s', (_, words, refused) => expect(plan(words)).toMatchObject({ refused }))

  test('is none where something else leads to the overwritten instruction', () => {
    expect(plan([STP, RET], [0])).toMatchObject({ refused: 'REDIRECT_UNSAFE' })
    expect(plan([PACIASP, STP, RET], [4])).toMatchObject({ refused: 'REDIRECT_UNSAFE' })
    expect(plan([PACIASP, STP, RET], [8])).toMatchObject({ kind: 'first-bytes' })
  })

  test('is none for what is not whole instructions', () => {
    const site = { before: new Uint8Array(), padding: 0, code: wordsOf([STP, RET]) }
    expect(planRedirect({ ...site, size: 6 })).toMatchObject({ refused: 'UNDECODABLE' })
    expect(planRedirect({ ...site, size: 12 })).toMatchObject({ refused: 'UNDECODABLE' })
  })

  test('whatever the code is, overwrites one aligned word that nothing direct leads to', () => {
    const word = fc.oneof(fc.nat(0xffffffff), fc.constantFrom(NOP, BTI_C, PACIASP, STP, RET, b(-4), b(-8), cbz(-4), bl(-4), adr(8), BR))
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 12 }), (words) => {
        const found = plan(words)
        if ('refused' in found) return
        const { offset, length } = found.switch
        expect([length, offset % 4, found.prepare]).toEqual([4, 0, []])
        for (const [i, each] of words.entries()) {
          const { flow, distance } = decodeWord(each)
          if (flow !== 'jump' && flow !== 'branch') continue
          const target = i * 4 + (distance as number)
          expect(target >= 0 && target < offset + 4).toBe(false)
        }
      }),
    )
  })
})

describe('the bytes', () => {
  const found = plan([BTI_C, STP, RET]) as RedirectPlan
  const MB = 1n << 20n
  const entry = 0xaaaa_0000_0000n

  test('are one branch to the stub, written at once', () => {
    fc.assert(
      fc.property(fc.bigInt(-(1n << 25n), (1n << 25n) - 1n), (words) => {
        const { switch: write, prepare } = encodeRedirect(found, entry, entry + 4n + words * 4n)
        expect([prepare, write.address, write.atomic]).toEqual([[], entry + 4n, true])
        expect(decodeWord(wordAt(write.bytes, 0))).toMatchObject({ form: 'b', distance: Number(words) * 4 })
      }),
    )
  })

  test.each([128n * MB, -128n * MB - 4n, 2n])('do not reach %d bytes', (distance) => {
    expect(() => encodeRedirect(found, entry, entry + 4n + distance)).toThrow(expect.objectContaining({ code: 'REDIRECT_OUT_OF_REACH' }))
  })
})

describe('landing', () => {
  const signs = wordsOf([PACIASP, STP, RET])
  const signsB = wordsOf([PACIBSP, STP, RET])
  const plain = wordsOf([BTI_C, STP, RET])

  test('is at the entry where the old function had not signed its return address', () => {
    expect(landing(plain, signs)).toEqual({ at: 0 })
    expect(landing(plain, plain)).toEqual({ at: 0 })
  })

  test('is behind the signing of the new function where both sign with the same key', () => {
    expect(landing(signs, signs)).toEqual({ at: 4 })
    expect(landing(signsB, signsB)).toEqual({ at: 4 })
  })

  test.each([
    [signs, plain, AUTIASP],
    [signs, signsB, AUTIASP],
    [signsB, plain, AUTIBSP],
    [signsB, signs, AUTIBSP],
  ])('is through code that takes the signature off where they do not', (before, after, first) => {
    const found = landing(before, after)
    if (!('through' in found)) throw new Error('not through code')
    expect(wordAt(found.through.content, 0)).toBe(first)
    expect(found.through.edges).toEqual([{ offset: 4, kind: 'branch26', addend: 0 }])
  })
})

describe('stubs', () => {
  test('have a pointer exactly one page behind each', () => {
    const page = hpatCodePage()
    for (const at of [0, 8, 4088]) {
      expect(decodeWord(wordAt(page, at))).toMatchObject({ form: 'ldr-literal', distance: 4096 })
      expect(wordAt(page, at) & 31).toBe(16)
      expect(decodeWord(wordAt(page, at + 4)).flow).toBe('jump-indirect')
    }
  })

  test.each([
    ['HPAT_STUB', HPAT_STUB, '10800058 00021fd6'],
    ['FAR_JUMP', FAR_JUMP, '10000090 10020091 00021fd6'],
    ['POINTER_JUMP', POINTER_JUMP, '10000090 100240f9 00021fd6'],
  ] as const)('%s is what llvm-mc makes of its assembly', (_, lines: readonly Line[], bytes) => {
    expect(Buffer.from(assemble(lines)).toString('hex')).toBe(bytes.replaceAll(' ', ''))
  })
})

describe('Cortex-A53 erratum 843419', () => {
  // adrp x0; ldr x1, [x2]; ldr x3, [x0, #8]
  const bad = wordsOf([0x90000000, 0xf9400041, 0xf9400403])
  // The same with an addition in between.
  const worse = wordsOf([0x90000000, 0xf9400041, 0x91000400, 0xf9400403])

  test('is there at the last two instructions of a page only', () => {
    for (const code of [bad, worse]) {
      const places = Array.from({ length: 1024 }, (_, i) => i * 4).filter((at) => hasErratum843419(code, at))
      expect(places).toEqual([0xff8, 0xffc])
    }
  })

  test('needs a load or store first, and one that uses the page', () => {
    expect(hasErratum843419(wordsOf([0x90000000, MOV, 0xf9400403]), 0xff8)).toBe(false)
    expect(hasErratum843419(wordsOf([0x90000000, 0xf9400041, 0xf9400443]), 0xff8)).toBe(false)
    expect(hasErratum843419(assemble(POINTER_JUMP), 0xff8)).toBe(false)
  })
})
