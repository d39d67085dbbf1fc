import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { diffBuilds } from '../diff.ts'
import type { ItemKind } from '../report.ts'

const folder = fileURLToPath(new URL('../fixtures/lines/', import.meta.url))
const toolchains = ['gcc-12', 'gcc-12-dwarf-4', 'clang-19', 'mingw-gcc-12', 'clang-19-mingw']

const compared = (toolchain: string, version: 'moved' | 'after') =>
  diffBuilds(`${folder}${toolchain}-before.o`, `${folder}${toolchain}-${version}.o`)
const names = (toolchain: string, version: 'moved' | 'after', kind: ItemKind) =>
  compared(toolchain, version)
    .items.filter((item) => item.kind === kind)
    .map(({ name }) => name)

const otherDiff = fileURLToPath(new URL('../../../test/builder/sources/make/text.patch', import.meta.url))
const withDiff = (toolchain: string, version: 'moved' | 'after', diff: string) =>
  diffBuilds(`${folder}${toolchain}-before.o`, `${folder}${toolchain}-${version}.o`, `${folder}${diff}.patch`)

const MARKS = ['first_of_many', 'inlined', 'jumps', 'over_lines', 'plain_assert', 'second_line']
const FIXED = ['off_by_one', 'shifted_constant', 'timeout']

describe.each(toolchains)('%s', (toolchain) => {
  test('lines that moved are no change, in whichever way the code holds them', () => {
    expect(names(toolchain, 'moved', 'line-numbers')).toEqual([...MARKS, ...FIXED].sort())
    // A line that is compared could be anything.
    expect(names(toolchain, 'moved', 'function')).toEqual(['resumed'])
  })

  test('a fix of one constant is found among them', () => {
    expect(names(toolchain, 'after', 'function')).toEqual([...FIXED, 'resumed'].sort())
    expect(names(toolchain, 'after', 'line-numbers')).toEqual([...MARKS, 'own_line'].sort())
  })

  test('a constant that is the number of its own line in both builds passes for one, unless the diff says otherwise', () => {
    expect(names(toolchain, 'after', 'line-numbers')).toContain('own_line')
    const { items } = withDiff(toolchain, 'after', 'after')
    const of = (kind: ItemKind) => items.filter((item) => item.kind === kind).map(({ name }) => name)
    expect(of('function')).toEqual([...FIXED, 'own_line', 'resumed'].sort())
    expect(of('line-numbers')).toEqual(MARKS)
  })

  test('a diff of something else proves nothing', () => {
    expect(withDiff(toolchain, 'moved', 'moved').counts.linesMoved).toBe(MARKS.length + FIXED.length)
    const other = diffBuilds(`${folder}${toolchain}-before.o`, `${folder}${toolchain}-moved.o`, otherDiff)
    expect(other.counts.linesMoved).toBe(0)
  })

  test('they are counted, and stand in nobody’s way', () => {
    const report = withDiff(toolchain, 'after', 'after')
    expect(report.counts.linesMoved).toBe(MARKS.length)
    expect(report.outcome).toBe('patchable')
    const moved = report.items.filter(({ kind }) => kind === 'line-numbers')
    expect(moved.every(({ patchable, reasons }) => patchable && reasons[0]?.code === 'LINES_ONLY')).toBe(true)
  })
})

test('a call whose line number needs more bytes makes its function longer, or takes from its filling', () => {
  const jumps = (toolchain: string) => compared(toolchain, 'moved').items.find(({ name }) => name === 'jumps')
  const grown = jumps('clang-19')
  expect(grown?.sizeAfter).toBe((grown?.sizeBefore as number) + 3)
  expect(jumps('gcc-12')?.sizeAfter).toBe(jumps('gcc-12')?.sizeBefore)
})

test('without line tables nothing is proven', () => {
  expect(names('gcc-12-unlined', 'moved', 'line-numbers')).toEqual([])
  expect(names('gcc-12-unlined', 'moved', 'function')).toEqual([...MARKS, ...FIXED, 'resumed'].sort())
})

test('with them in one build only neither', () => {
  const report = diffBuilds(`${folder}gcc-12-before.o`, `${folder}gcc-12-unlined-moved.o`)
  expect(report.counts.linesMoved).toBe(0)
})
