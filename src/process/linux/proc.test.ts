import { describe, expect, test } from 'vitest'
import { auxiliaryValue, parseMaps, parseStat, parseStatus, parseSyscall, readProc, readProcOrNothing } from './proc.ts'

describe('syscall', () => {
  test('a thread in a call, one in the kernel without a call, one on a processor', () => {
    expect(parseSyscall('35 0x7ffd 0x0 0x0 0x0 0x0 0x0 0x7ffd1000 0x7f0000001234\n')).toEqual({
      stackPointer: 0x7ffd1000n,
      instructionPointer: 0x7f0000001234n,
    })
    expect(parseSyscall('-1 0x7ffd1000 0x401000\n')).toEqual({ stackPointer: 0x7ffd1000n, instructionPointer: 0x401000n })
    expect(parseSyscall('running\n')).toBeUndefined()
    expect(parseSyscall('')).toBeUndefined()
  })
})

describe('maps', () => {
  const text = [
    '00400000-00401000 r-xp 00000000 08:02 173521      /usr/bin/a program',
    '7f0000000000-7f0000001000 rw-s 00001000 00:05 1025 /memfd:hotpatch:x (deleted)',
    '7f0000002000-7f0000003000 ---p 00000000 00:00 0 ',
    '7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]',
    'ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]',
    '7f0000004000-7f0000005000 r--p 00000000 08:02 9 /tmp/a\\012b (deleted)',
    'garbage',
    '',
  ].join('\n')

  test('every field of every kind of line', () => {
    const maps = parseMaps(text)
    expect(maps.map(({ start, end, name, path, deleted }) => ({ start, end, name, path, deleted }))).toEqual([
      { start: 0x400000n, end: 0x401000n, name: '/usr/bin/a program', path: '/usr/bin/a program', deleted: false },
      {
        start: 0x7f0000000000n,
        end: 0x7f0000001000n,
        name: '/memfd:hotpatch:x (deleted)',
        path: '/memfd:hotpatch:x',
        deleted: true,
      },
      { start: 0x7f0000002000n, end: 0x7f0000003000n, name: '', path: '', deleted: false },
      { start: 0x7ffc00000000n, end: 0x7ffc00021000n, name: '[stack]', path: '', deleted: false },
      { start: 0xffffffffff600000n, end: 0xffffffffff601000n, name: '[vsyscall]', path: '', deleted: false },
      { start: 0x7f0000004000n, end: 0x7f0000005000n, name: '/tmp/a\nb (deleted)', path: '/tmp/a\nb', deleted: true },
    ])
    expect(maps.map(({ read, write, execute, shared }) => [read, write, execute, shared])).toEqual([
      [true, false, true, false],
      [true, true, false, true],
      [false, false, false, false],
      [true, true, false, false],
      [false, false, true, false],
      [true, false, false, false],
    ])
    expect(maps[1]?.offset).toBe(0x1000n)
    expect(maps[0]).toMatchObject({ device: '08:02', inode: '173521' })
  })
})

describe('stat', () => {
  const rest = Array.from({ length: 50 }, (_, i) => `${i + 3}`)
  test('a name with spaces and parentheses', () => {
    const text = `42 (a) b (c)) ${['S', ...rest.slice(1)].join(' ')}`
    expect(parseStat(text)).toMatchObject({ name: 'a) b (c)', state: 'S', startTime: '22', startBrk: 47n })
  })

  // As a kernel of 6.1 tells of kthreadd, of a shell, of one that is exiting and of one that has ended.
  test.each([
    ['2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0', { ofKernel: true, ending: false }],
    ['77 (sh) S 1 77 77 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0', { ofKernel: false, ending: false }],
    ['77 (sh) R 1 77 77 0 -1 4194564 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0', { ofKernel: false, ending: true }],
    ['77 (sh) Z 1 77 77 0 -1 4227084 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0', { ofKernel: false, ending: true }],
  ])('what its flags say: %s', (text, flags) => {
    expect(parseStat(text)).toMatchObject(flags)
  })

  test.each(['', '42', '42 (x', '42 (x) S 1 2'])('what is cut off is no stat: %j', (text) => {
    expect(parseStat(text)).toBeUndefined()
  })
})

test('status fields by name', () => {
  const status = parseStatus('Name:\tserver\nTracerPid:\t0\nUid:\t0\t0\t0\t0\n')
  expect([status.get('Name'), status.get('TracerPid'), status.get('Uid'), status.get('Nothing')]).toEqual([
    'server',
    '0',
    '0\t0\t0\t0',
    undefined,
  ])
})

test('auxiliary vector', () => {
  const auxv = new Uint8Array(new BigUint64Array([3n, 0x400040n, 0n, 0n]).buffer)
  expect(auxiliaryValue(auxv, 3)).toBe(0x400040n)
  expect(auxiliaryValue(auxv, 9)).toBeUndefined()
  expect(auxiliaryValue(auxv.subarray(0, 7), 3)).toBeUndefined()
})

test('what cannot be read is nothing where threads stand still, and an error elsewhere', () => {
  expect(() => readProc('/')).toThrow(/EISDIR/)
  expect(readProcOrNothing('/')).toBe('')
  expect(readProcOrNothing('/nowhere/at/all')).toBe('')
})
