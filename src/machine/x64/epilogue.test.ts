import { describe, expect, test } from 'vitest'
import { endsInCall, epilogueAt, returnAt } from './epilogue.ts'

const RBX = 3
const RBP = 6
const RSP = 7
const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const outside = () => true
const inside = () => false

describe('what remains of an epilogue', () => {
  test('add rsp, 0x28; pop rbx; pop r12; ret', () => {
    expect(epilogueAt(bytes('4883c428 5b 415c c3'), inside)).toEqual({ register: RSP, offset: 0x40, saved: [RBX, -0x18, 12, -0x10] })
  })
  test('the same after its first instruction, after the second, and at the return', () => {
    expect(epilogueAt(bytes('5b 415c c3'), inside)).toEqual({ register: RSP, offset: 0x18, saved: [RBX, -0x18, 12, -0x10] })
    expect(epilogueAt(bytes('415c c3'), inside)).toEqual({ register: RSP, offset: 0x10, saved: [12, -0x10] })
    expect(epilogueAt(bytes('c3'), inside)).toEqual({ register: RSP, offset: 8, saved: [] })
  })
  test('lea rsp, [rbp + 0x50]; pop rbp; ret counts from the frame register', () => {
    expect(epilogueAt(bytes('488d6550 5d c3'), inside)).toEqual({ register: RBP, offset: 0x60, saved: [RBP, -0x10] })
  })
  test('lea rsp, [r13 - 8]: REX.B names the upper half', () => {
    expect(epilogueAt(bytes('498d65f8 c3'), inside)).toMatchObject({ register: 13, offset: 0 })
  })
  test('a tail call ends it only where it leaves the function', () => {
    const tail = bytes('4883c428 e900100000')
    expect(epilogueAt(tail, (target) => target === 4 + 5 + 0x1000)).toEqual({ register: RSP, offset: 0x30, saved: [] })
    expect(epilogueAt(tail, inside)).toBeUndefined()
    expect(epilogueAt(bytes('ff2500000000'), inside)).toMatchObject({ offset: 8 })
  })
  test.each(['4883ec28 c3', '53 c3', '90', '', '488d2424 c3', '5b', 'e9'])('%s is none', (code) => {
    expect(epilogueAt(bytes(code), outside)).toBeUndefined()
  })
})

describe('what can be a call before a return address', () => {
  const before = (bytes: string) => endsInCall(Uint8Array.from(Buffer.from(bytes.replaceAll(' ', '').padStart(14, '90'), 'hex')))
  test.each([
    ['call rel32', 'e8 11 22 33 44', true],
    ['call rax', 'ff d0', true],
    ['call r11', '41 ff d3', true],
    ['call [rax]', 'ff 10', true],
    ['call [rsp]', 'ff 14 24', true],
    ['call [rbp + 8]', 'ff 55 08', true],
    ['call [rsp + 8]', 'ff 54 24 08', true],
    ['call [rip + disp]', 'ff 15 11 22 33 44', true],
    ['call [rax + disp32]', 'ff 90 11 22 33 44', true],
    ['call [rsp + disp32]', 'ff 94 24 11 22 33 44', true],
    ['jmp [rip + disp]', 'ff 25 11 22 33 44', false],
    ['push rax; push rcx', '50 51', false],
    ['nops', '90', false],
  ] as const)('%s', (_, bytes, expected) => expect(before(bytes)).toBe(expected))
})

describe('what returns whatever unwind data says', () => {
  const at = (bytes: string) => returnAt(Uint8Array.from(Buffer.from(bytes.replaceAll(' ', ''), 'hex')))
  test('ret', () => expect(at('c3')).toEqual({ register: 7, offset: 8, saved: [] }))
  test('lea rsp, [r10 - 8]; ret', () => expect(at('49 8d 62 f8 c3')).toEqual({ register: 10, offset: 0, saved: [] }))
  test('pop rbp; ret', () => expect(at('5d c3')).toEqual({ register: 7, offset: 16, saved: [6, -16] }))
  test('a jump is no return: in PLT0 two words lie on the stack', () => expect(at('ff 25 11 22 33 44')).toBeUndefined())
  test('anything else', () => expect(at('48 89 e5 c3')).toBeUndefined())
})
