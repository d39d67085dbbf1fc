import { describe, expect, test } from 'vitest'
import { leafRow, unwindRows } from './unwind-rows.ts'
import { readUnwindInfo } from './unwind-x64.ts'

const info = (text: string) => {
  const data = Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
  return readUnwindInfo((rva, length) => data.subarray(rva, rva + length), 0)
}
const summary = (...chain: ReturnType<typeof info>[]) =>
  unwindRows(chain).map(({ start, cfa, registers }) => [
    start,
    cfa.kind === 'register' ? `r${cfa.register}+${cfa.offset}` : 'expression',
    [...registers].map(([register, rule]) => `r${register}:${rule.kind === 'offset' ? rule.offset : rule.kind}`).join(' '),
  ])

describe('rows from x64 unwind information', () => {
  test('push r12; push rbx; sub rsp, 0x28', () => {
    // UWOP_ALLOC_SMALL 0x28 at 7; PUSH rbx at 3; PUSH r12 at 2
    expect(summary(info('01 07 03 00  07 42  03 30  02 c0  00 00'))).toEqual([
      [0, 'r7+8', 'r16:-8'],
      [2, 'r7+16', 'r16:-8 r12:-16'],
      [3, 'r7+24', 'r16:-8 r3:-24 r12:-16'],
      [7, 'r7+64', 'r16:-8 r3:-24 r12:-16'],
    ])
  })

  test('a frame register counts from the moment it is set', () => {
    // push rbp (1); sub rsp, 0x50 (5); lea rbp, [rsp + 0x40] (10): SET_FPREG rbp, offset 4 * 16
    expect(summary(info('01 0a 03 45  0a 03  05 92  01 50  00 00'))).toEqual([
      [0, 'r7+8', 'r16:-8'],
      [1, 'r7+16', 'r16:-8 r6:-16'],
      [5, 'r7+96', 'r16:-8 r6:-16'],
      [10, 'r6+32', 'r16:-8 r6:-16'],
    ])
  })

  test('registers that are stored rather than pushed', () => {
    // sub rsp, 0x38 (4); mov [rsp + 0x30], rsi (9): SAVE_NONVOL rsi, 6 * 8
    expect(summary(info('01 09 03 00  09 64 06 00  04 62  00 00')).at(-1)).toEqual([9, 'r7+64', 'r16:-8 r4:-16'])
  })

  test('a continued function has its parent done in full', () => {
    const parent = info('01 07 03 00  07 42  03 30  02 c0  00 00')
    const child = info('21 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00')
    expect(summary(child, parent)).toEqual([[0, 'r7+64', 'r16:-8 r3:-24 r12:-16']])
  })

  test('a machine frame holds the interrupted rip and rsp', () => {
    expect(summary(info('01 00 01 00  00 1a  00 00'))).toEqual([[0, 'r7+8', 'r16:0 r7:24']])
  })

  test('code without a record is a leaf', () => {
    expect(leafRow().cfa).toEqual({ kind: 'register', register: 7, offset: 8 })
  })
})
