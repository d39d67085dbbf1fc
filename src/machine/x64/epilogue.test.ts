import { describe, expect, test } from 'vitest'
import { epilogueAt } from './epilogue.ts'

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
