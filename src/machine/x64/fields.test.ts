import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { decode, disassemble } from './decode.ts'
import { instructionEnd } from './fields.ts'
import { hex } from './testing/hex.ts'

describe('instructionEnd', () => {
  const code = hex(`
    f3 0f 1e fa                    ; endbr64
    48 8b 05 00 00 00 00           ; mov rax,[rip+0]
    83 3d 00 00 00 00 01           ; cmp dword ptr [rip+0],1
    c7 05 00 00 00 00 01 00 00 00  ; mov dword ptr [rip+0],1
    66 c7 05 00 00 00 00 34 12     ; mov word ptr [rip+0],1234h
    0f 84 00 00 00 00              ; je rip+0
    e8 00 00 00 00                 ; call rip+0
    c4 e3 75 46 05 00 00 00 00 20  ; vperm2i128 ymm0,ymm1,[rip+0],20h
    c3                             ; ret
  `)

  it.each([
    [7, 11, 'a displacement at the end of its instruction'],
    [13, 18, 'one byte of immediate behind it'],
    [20, 28, 'four bytes of immediate behind it'],
    [24, 28, 'the immediate itself'],
    [31, 37, 'two bytes of immediate behind it'],
    [39, 43, 'the distance of a conditional jump'],
    [44, 48, 'the distance of a call'],
    [53, 58, 'a VEX instruction with an immediate'],
  ])('field at %i: instruction ends at %i (%s)', (field, end) => {
    expect(instructionEnd(code, field)).toBe(end)
    expect(instructionEnd(code, field)).toBe(end)
  })

  it('refuses an offset that is no field', () => {
    for (const offset of [0, 4, 6, 8, 12, 14, 21, 58, 59, 1000])
      expect(() => instructionEnd(code, offset)).toThrowError(expect.objectContaining({ code: 'CODE_UNDECODABLE' }))
  })

  it('refuses fields behind a byte that begins no instruction', () => {
    const withData = hex('48 8b 05 00000000 06 48 8b 05 00000000')
    expect(instructionEnd(withData, 3)).toBe(7)
    expect(() => instructionEnd(withData, 11)).toThrowError(expect.objectContaining({ code: 'CODE_UNDECODABLE' }))
    expect(instructionEnd(withData, 11, 8)).toBe(15)
  })

  it('refuses an instruction that the code cuts off', () => {
    expect(() => instructionEnd(hex('90 e8 00 00'), 2)).toThrowError(expect.objectContaining({ code: 'CODE_UNDECODABLE' }))
  })

  it('gives the same answers in whatever order it is asked, also in long code', () => {
    // 7 bytes each: mov rax,[rip+0].
    const long = new Uint8Array(7 * 2000)
    for (let at = 0; at < long.length; at += 7) long.set([0x48, 0x8b, 0x05], at)
    const fields = Array.from({ length: 2000 }, (_, i) => 7 * i + 3)
    for (const field of [...fields].reverse()) expect(instructionEnd(long, field)).toBe(field + 4)
    const again = long.slice()
    for (const field of fields) expect(instructionEnd(again, field)).toBe(field + 4)
    expect(() => instructionEnd(again, 7 * 1999 + 4)).toThrowError(expect.objectContaining({ code: 'CODE_UNDECODABLE' }))
    expect(instructionEnd(again, 7 * 1500 + 3, 7 * 1400)).toBe(7 * 1501)
  })

  it('answers or refuses on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(80), (bytes, offset) => {
        try {
          const end = instructionEnd(bytes, offset)
          expect(end).toBeGreaterThanOrEqual(offset + 4)
          expect(end).toBeLessThanOrEqual(bytes.length)
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
    )
  })
})

describe('decode', () => {
  it('gives flow and targets from the start of the code', () => {
    const { instructions, stoppedAt } = decode(hex('f30f1efa 74fa e8 01000000 ebf3 ff25 10000000 c3 cc 0f0b 660f1f4400 00'))
    expect(stoppedAt).toBeUndefined()
    expect(instructions.map((i) => [i.offset, i.length, i.flow, i.target, i.nop, i.ripTarget])).toEqual([
      [0, 4, 'next', undefined, false, undefined],
      [4, 2, 'branch', 0, false, undefined],
      [6, 5, 'call', 12, false, undefined],
      [11, 2, 'jump', 0, false, undefined],
      [13, 6, 'jump-indirect', undefined, false, 35],
      [19, 1, 'return', undefined, false, undefined],
      [20, 1, 'interrupt', undefined, false, undefined],
      [21, 2, 'trap', undefined, false, undefined],
      [23, 6, 'next', undefined, true, undefined],
    ])
  })

  it('gives targets before the code as negative offsets', () => {
    expect(decode(hex('eb f0')).instructions[0]?.target).toBe(-14)
  })

  it('gives the instructions that begin in a range', () => {
    const nops = hex('90 66 90 0f 1f 00 eb fe 90')
    expect(decode(nops, 1, 6).instructions.map((i) => [i.offset, i.length])).toEqual([
      [1, 2],
      [3, 3],
    ])
    expect(decode(nops, 6, 7)).toMatchObject({ stoppedAt: undefined, instructions: [{ offset: 6, length: 2, target: 6 }] })
    expect(decode(hex('90 e8 00 00'), 0, 2)).toMatchObject({ stoppedAt: 1, instructions: [{ offset: 0 }] })
    expect(decode(nops, 9)).toEqual({ instructions: [], stoppedAt: undefined })
  })

  it('stops where nothing begins', () => {
    expect(decode(hex('90 06 90'))).toMatchObject({ stoppedAt: 1, instructions: [{ offset: 0 }] })
  })

  it('writes listings', () => {
    expect(disassemble(hex('f30f1efa eb06'), 0x1000n)).toEqual(['endbr64', 'jmp short 000000000000100Ch'])
  })
})
