import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../errors.ts'
import { readSourceDiff } from './source-diff.ts'

const read = (...lines: string[]) => readSourceDiff(`${lines.join('\n')}\n`, 'fix.patch')
const mapped = (file: string, lines: readonly number[], ...diff: string[]) => lines.map((line) => read(...diff).lineAfter(file, line))

const TWO_HUNKS = [
  ...['diff --git a/src/a.c b/src/a.c', '--- a/src/a.c\t2026-01-01', '+++ b/src/a.c'],
  ...[
    '@@ -3,4 +3,5 @@ int f(void)',
    ' three',
    '-four',
    '+four!',
    '+more',
    ' five',
    ' six',
    '@@ -20,3 +21,2 @@',
    ' twenty',
    '--- twenty-one',
    ' twenty-two',
  ],
]

describe('lines', () => {
  test('before, in, between and behind hunks', () => {
    expect(mapped('src/a.c', [1, 3, 4, 5, 6, 7, 19, 20, 21, 22, 23], ...TWO_HUNKS)).toEqual([
      1,
      3,
      undefined,
      6,
      7,
      8,
      20,
      21,
      undefined,
      22,
      23,
    ])
  })

  test('a hunk that only adds', () => {
    expect(mapped('a.c', [4, 5, 6], '--- a/a.c', '+++ b/a.c', '@@ -5,0 +6,2 @@', '+x', '+y')).toEqual([4, 5, 8])
  })

  test('a hunk that only removes, a missing newline, an empty line of context', () => {
    const diff = ['--- a/a.c', '+++ b/a.c', '@@ -1,3 +1,2 @@', '', '-x', ' y', '\\ No newline at end of file']
    expect(mapped('a.c', [1, 2, 3, 9], ...diff)).toEqual([1, undefined, 2, 8])
  })
})

describe('files', () => {
  const both = (path: string) => [`--- a/${path}`, `+++ b/${path}`, '@@ -1 +1,2 @@', '+new', ' old']

  test('leading folders differ', () => {
    for (const path of ['/build/x/src/a.c', './src/a.c', 'a.c', '..\\src\\a.c']) expect(mapped(path, [20], ...TWO_HUNKS)).toEqual([21])
  })

  test('a file that the fix leaves alone keeps its lines', () => {
    expect(mapped('src/b.c', [20], ...TWO_HUNKS)).toEqual([20])
  })

  test('of two of one name the one with the same folder; where nothing tells, none', () => {
    const diff = [...both('x/a.c'), ...TWO_HUNKS]
    expect(mapped('/build/x/a.c', [20], ...diff)).toEqual([21])
    expect(mapped('/build/src/a.c', [20], ...diff)).toEqual([21])
    expect(mapped('a.c', [20], ...diff)).toEqual([undefined])
  })

  test('a new file', () => {
    expect(mapped('a.c', [7], '--- /dev/null', '+++ b/a.c', '@@ -0,0 +1,2 @@', '+x', '+y')).toEqual([9])
  })
})

test.each([
  ['nothing', ['']],
  ['words', ['a fix', '@@ -1 +1 @@']],
  ['a hunk cut off', ['--- a/a.c', '+++ b/a.c', '@@ -1,3 +1,3 @@', ' one']],
])('refused: %s', (_name, lines) => {
  expect(() => readSourceDiff(lines.join('\n'), 'fix.patch')).toThrow(HotpatchError)
})

test('any words are read or refused', () => {
  const line = fc.oneof(fc.constantFrom('--- a/x', '+++ b/x', '@@ -1,2 +1,3 @@', '@@ -9 +9 @@', ' x', '+x', '-x', '\\ x', ''), fc.string())
  fc.assert(
    fc.property(fc.array(line), fc.nat(20), (lines, at) => {
      try {
        read(...lines).lineAfter('x', at)
      } catch (error) {
        expect(error).toBeInstanceOf(HotpatchError)
      }
    }),
  )
})
