import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { callsIn, meaningOf, splitResponse } from './calls.ts'

const noted = (folder: string, ...args: string[]) => [folder, `${args.length}`, ...args].map((field) => `${field}\0`).join('')
const meaning = (...args: string[]) => meaningOf({ folder: '/build', args })

describe('what was noted', () => {
  test('calls, one behind the other; what was cut off is none', () => {
    const text = noted('/a', '-c', 'x y.c') + noted('/b', '--version')
    expect(callsIn(text)).toEqual([
      { folder: '/a', args: ['-c', 'x y.c'] },
      { folder: '/b', args: ['--version'] },
    ])
    expect(callsIn(text.slice(0, -12))).toEqual([{ folder: '/a', args: ['-c', 'x y.c'] }])
    expect(callsIn('')).toEqual([])
  })

  test('response files stand for what they hold', () => {
    expect(callsIn(noted('/a', '-o', 'p', '@a.o "b c.o"\nd.o'))[0]?.args).toEqual(['-o', 'p', 'a.o', 'b c.o', 'd.o'])
  })

  test('any argument can be written into a response file', () => {
    const quote = (text: string) => `"${text.replace(/[\\"]/g, '\\$&')}"`
    fc.assert(
      fc.property(fc.array(fc.string({ minLength: 1 }), { minLength: 1 }), (args) => {
        expect(splitResponse(args.map(quote).join(' \n'))).toEqual(args)
      }),
    )
  })
})

describe('compiling', () => {
  test.each([
    [['-O2', '-c', 'src/a.c'], ['/build/a.o']],
    [
      ['-c', 'a.c', 'b.c'],
      ['/build/a.o', '/build/b.o'],
    ],
    [['-c', 'a.c', '-o', '../out/a.obj'], ['/out/a.obj']],
    [['-oa.o', '-c', 'a.c'], ['/build/a.o']],
    [['-c', '-MF', 'a.d', '-include', 'config.h', '-x', 'c', 'a.in', '-o', '/x/a.o'], ['/x/a.o']],
  ])('%j', (args, outputs) => {
    expect(meaning(...args)).toEqual({ kind: 'compile', outputs })
  })
})

describe('linking', () => {
  test('files, libraries and where they are looked for', () => {
    expect(meaning('-shared', 'a.o', 'lib/libx.a', '-Llib', '-L', '/usr/lib', '-lm', '-l', 'y', '-Wl,-z,now', '-o', 'liba.so')).toEqual({
      kind: 'link',
      output: '/build/liba.so',
      partial: false,
      files: ['/build/a.o', '/build/lib/libx.a'],
      libraries: ['m', 'y'],
      folders: ['/build/lib', '/usr/lib'],
    })
  })

  test('the default output, and parts that are linked on', () => {
    expect(meaning('a.o')).toMatchObject({ output: '/build/a.out', partial: false })
    expect(meaning('-r', 'a.o', '-o', 'all.o')).toMatchObject({ partial: true })
    expect(meaning('-nostdlib', '-Wl,-r', 'a.o', '-o', 'all.o')).toMatchObject({ partial: true })
  })

  test.each([[['--version']], [['-E', 'a.c']], [['-M', 'a.c']], [['-dumpmachine']], [['-print-search-dirs']], [['-v']]])(
    '%j is neither',
    (args) => {
      expect(meaning(...args)).toBeUndefined()
    },
  )
})
