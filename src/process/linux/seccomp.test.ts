import { describe, expect, test } from 'vitest'
import { SECCOMP_RET } from '../../os/linux/definitions.ts'
import { SYS } from '../../os/linux/syscalls.ts'
import { judge, parseProgram, run } from './seccomp.ts'

type Line = readonly [code: number, jt: number, jf: number, k: number]

function program(...lines: readonly Line[]) {
  const bytes = new Uint8Array(lines.length * 8)
  const view = new DataView(bytes.buffer)
  for (const [i, [code, jt, jf, k]] of lines.entries()) {
    view.setUint16(i * 8, code, true)
    bytes.set([jt, jf], i * 8 + 2)
    view.setUint32(i * 8 + 4, k >>> 0, true)
  }
  return parseProgram(bytes)
}

const LOAD_NUMBER: Line = [0x20, 0, 0, 0]
const LOAD_ARGUMENT_2: Line = [0x20, 0, 0, 16 + 2 * 8]
const ret = (value: number): Line => [0x06, 0, 0, value]

/** As systemd's MemoryDenyWriteExecute has it: mmap with PROT_WRITE and PROT_EXEC fails. */
const DENY_WRITE_EXECUTE = program(
  LOAD_NUMBER,
  [0x15, 0, 4, SYS.mmap],
  LOAD_ARGUMENT_2,
  [0x54, 0, 0, 6],
  [0x15, 0, 1, 6],
  ret(SECCOMP_RET.ERRNO | 1),
  ret(SECCOMP_RET.ALLOW),
)
const KILL_MEMFD = program(LOAD_NUMBER, [0x15, 0, 1, SYS.memfd_create], ret(SECCOMP_RET.KILL_PROCESS), ret(SECCOMP_RET.ALLOW))
const LOG_ALL = program(ret(SECCOMP_RET.LOG))

describe('judging a call', () => {
  test('without filters everything is allowed', () => {
    expect(judge([], SYS.mmap, [], 0n)).toEqual({ allowed: true, action: 'ALLOW' })
  })

  test('arguments count', () => {
    expect(judge([DENY_WRITE_EXECUTE], SYS.mmap, [0n, 4096n, 5n], 0n).allowed).toBe(true)
    expect(judge([DENY_WRITE_EXECUTE], SYS.mmap, [0n, 4096n, 7n], 0n)).toEqual({ allowed: false, action: 'ERRNO' })
    expect(judge([DENY_WRITE_EXECUTE], SYS.munmap, [0n, 4096n, 7n], 0n).allowed).toBe(true)
  })

  test('the strictest of several filters counts', () => {
    expect(judge([LOG_ALL, KILL_MEMFD, DENY_WRITE_EXECUTE], SYS.memfd_create, [], 0n).action).toBe('KILL_PROCESS')
    expect(judge([LOG_ALL, KILL_MEMFD, DENY_WRITE_EXECUTE], SYS.close, [], 0n)).toEqual({ allowed: true, action: 'LOG' })
  })

  test('the instruction pointer and the processor can be asked for', () => {
    const filter = program([0x20, 0, 0, 8], [0x15, 0, 1, 0x1234], ret(SECCOMP_RET.ALLOW), ret(SECCOMP_RET.TRAP))
    expect(judge([filter], 1, [], 0x1234n).allowed).toBe(true)
    expect(judge([filter], 1, [], 0x1236n).action).toBe('TRAP')
    const machine = program([0x20, 0, 0, 4], [0x15, 1, 0, 0xc000003e], ret(SECCOMP_RET.KILL_THREAD), ret(SECCOMP_RET.ALLOW))
    expect(judge([machine], 1, [], 0n).allowed).toBe(true)
  })
})

describe('the machine', () => {
  const data = new DataView(new ArrayBuffer(64))
  const ALU: readonly (readonly [name: string, code: number, a: number, k: number, result: number])[] = [
    ['add', 0x04, 0xffffffff, 2, 1],
    ['sub', 0x14, 1, 2, 0xffffffff],
    ['mul', 0x24, 0x10001, 0x10001, 0x20001],
    ['div', 0x34, 7, 2, 3],
    ['or', 0x44, 0x80000000, 1, 0x80000001],
    ['and', 0x54, 0xff, 0x0f, 0x0f],
    ['lsh', 0x64, 1, 31, 0x80000000],
    ['rsh', 0x74, 0x80000000, 31, 1],
    ['neg', 0x84, 1, 0, 0xffffffff],
    ['mod', 0x94, 7, 4, 3],
    ['xor', 0xa4, 6, 3, 5],
  ]
  test.each(ALU)('%s', (_, code, a, k, result) => {
    const withConstant = program([0x00, 0, 0, a], [code, 0, 0, k], [0x16, 0, 0, 0])
    expect(run(withConstant, data) >>> 0).toBe(result)
    const withIndex = program([0x01, 0, 0, k], [0x00, 0, 0, a], [code | 0x08, 0, 0, 0], [0x16, 0, 0, 0])
    expect(run(withIndex, data) >>> 0).toBe(result)
  })

  test('registers, scratch memory and jumps', () => {
    const filter = program(
      [0x00, 0, 0, 5],
      [0x02, 0, 0, 3],
      [0x61, 0, 0, 3],
      [0x00, 0, 0, 9],
      [0x07, 0, 0, 0],
      [0x60, 0, 0, 3],
      [0x05, 0, 0, 1],
      [0x06, 0, 0, 1],
      [0x0c, 0, 0, 0],
      [0x16, 0, 0, 0],
    )
    expect(run(filter, data)).toBe(14)
  })

  test('what is no program kills: no end, division by zero, a load from outside', () => {
    expect(run(program(), data)).toBe(SECCOMP_RET.KILL_PROCESS)
    expect(run(program([0x00, 0, 0, 1]), data)).toBe(SECCOMP_RET.KILL_PROCESS)
    expect(run(program([0x34, 0, 0, 0], ret(1)), data)).toBe(SECCOMP_RET.KILL_PROCESS)
    expect(run(program([0x20, 0, 0, 64], ret(1)), data)).toBe(SECCOMP_RET.KILL_PROCESS)
    expect(run(program([0x20, 0, 0, 2], ret(1)), data)).toBe(SECCOMP_RET.KILL_PROCESS)
  })
})
