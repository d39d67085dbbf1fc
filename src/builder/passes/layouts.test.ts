import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import type { Aggregate, TypeRef } from '../../binary/types/model.ts'
import { diffBuilds } from '../diff.ts'
import type { LinkGraph } from '../graph.ts'
import { object, program } from '../testing/graphs.ts'
import { compareLayouts } from './layouts.ts'

const fixture = (name: string): string => fileURLToPath(new URL(`../layouts/fixtures/${name}`, import.meta.url))
const report = (name: string) => diffBuilds(fixture(`before-${name}`), fixture(`after-${name}`))

/** What is said of each type of cases.c. */
const VERDICTS: Readonly<Record<string, string>> = {
  'enum grown': 'LAYOUT_SAFE',
  'enum shifted': 'ENUM_CHANGED',
  'struct bits': 'LAYOUT_SAFE',
  'struct framed': 'LAYOUT_SAFE',
  'struct kept': 'LAYOUT_CHANGED',
  'struct listed': 'LAYOUT_CHANGED',
  'struct padded': 'LAYOUT_SAFE',
  'struct raw': 'LAYOUT_CHANGED',
  'struct resigned': 'LAYOUT_CHANGED',
  unnamed_t: 'LAYOUT_CHANGED',
}

describe.each(['gcc-12.o', 'gcc-12-dwarf4.o', 'clang-19.o', 'mingw-gcc-12.o', 'gcc-12-arm64.o', 'clang-19-arm64.o'])(
  'layouts of %s',
  (name) => {
    const { items, outcome, layouts, notes } = report(name)
    const types = items.filter(({ kind }) => kind === 'type')

    it('names every type that changed and no other', () => {
      expect(Object.fromEntries(types.map((item) => [item.name, item.reasons.map(({ code }) => code).join()]))).toEqual(VERDICTS)
      expect(outcome).toBe('refused')
      expect(layouts).toEqual({ compared: 1, without: [] })
      expect(notes.filter((note) => note.includes('layouts'))).toEqual([])
    })

    it('says the sizes, the members and who uses it', () => {
      const [raw] = types.filter((item) => item.name === 'struct raw')
      expect(raw).toMatchObject({ sizeBefore: 552, sizeAfter: 552, patchable: false })
      expect(raw?.reasons[0]?.detail).toMatch(
        /delegated was added \(unsigned char, 1 byte at byte 225\).*raws.*open_raw has the size of struct raw/,
      )
      const [padded] = types.filter((item) => item.name === 'struct padded')
      expect(padded?.reasons[0]?.detail).toMatch(
        /^zero-padding: delegated lies in padding that is zero in all objects \(calloc in open_padded\)/,
      )
      const [framed] = types.filter((item) => item.name === 'struct framed')
      expect(framed?.reasons[0]?.detail).toMatch(/^frames-only: it lies in frames of enter_framed alone/)
      const [kept] = types.filter((item) => item.name === 'struct kept')
      expect(kept?.reasons[0]?.detail).toMatch(/not frames-only: current can keep a pointer to one/)
      const [listed] = types.filter((item) => item.name === 'struct listed')
      expect(listed).toMatchObject({ sizeBefore: 16, patchable: false })
      expect(listed?.reasons[0]?.detail).toMatch(/limit was added .* at byte 16\).*reached through .*first.*used in .*add_listed/)
      const [unnamed] = types.filter((item) => item.name === 'unnamed_t')
      expect(unnamed?.reasons[0]?.detail).toMatch(/the variables unnamed/)
    })
  },
)

describe('objects without debug information', () => {
  it('are named in a warning, and nothing is concluded from their silence', () => {
    const { items, layouts, notes } = report('gcc-12-nothing.o')
    expect(items.filter(({ kind }) => kind === 'type')).toEqual([])
    expect(layouts).toEqual({ compared: 0, without: ['after-gcc-12-nothing.o'] })
    expect(notes).toContainEqual(expect.stringMatching(/^layouts were not compared: after-gcc-12-nothing\.o has no debug information/))
  })
})

describe('types that several objects share', () => {
  const int: TypeRef = { kind: 'base', name: 'int', size: 4, encoding: 'signed' }
  const conn = (count: number): Aggregate => ({
    kind: 'struct',
    key: 'struct conn',
    size: 4 * count,
    members: Array.from({ length: count }, (_, i) => ({
      name: `m${i}`,
      type: int,
      bitOffset: 32 * i,
      bitSize: 32,
      bitField: false,
      inherited: false,
    })),
    virtuals: [],
  })
  const typed = (graph: LinkGraph, shared: string | undefined, ...definitions: Aggregate[]): LinkGraph => {
    const keys = ['struct conn']
    const fingerprint = () => definitions.map((d) => d.size).join()
    const types = {
      format: 'codeview',
      keys,
      shared,
      fingerprint,
      definitions: () => definitions,
      functions: () => [],
      variables: () => [],
    } as const
    return { ...graph, types: () => types }
  }
  const graph = (path: string) => object({ path, blocks: [{ name: 'f', content: [0xc3] }] })
  const compared = (before: readonly number[], after: readonly number[], shared: readonly [string, string] | undefined) => {
    const [b, a] = [typed(graph('a.obj'), shared?.[0], ...before.map(conn)), typed(graph('a.obj'), shared?.[1], ...after.map(conn))]
    return compareLayouts(program([b], [a]))
  }
  const sizes = (...args: Parameters<typeof compared>) => compared(...args).changes.map((c) => [c.sizeBefore, c.sizeAfter])
  const PDBS = ['before.pdb', 'after.pdb'] as const

  it('changed where a new definition stands beside the old ones, which may be left over', () => {
    expect(sizes([1], [1, 2], PDBS)).toEqual([[4, 8]])
    expect(sizes([3, 1], [3, 1, 2], PDBS)).toEqual([[4, 8]])
    expect(sizes([1, 2], [2], PDBS)).toEqual([[4, 8]])
    expect(sizes([1, 2], [2, 1], PDBS)).toEqual([])
    expect(sizes([1], [2], PDBS)).toEqual([[4, 8]])
  })

  it('are their own object’s where they are not shared: there a type more is another function’s', () => {
    expect(sizes([1], [1, 2], undefined)).toEqual([])
    expect(sizes([1], [2], undefined)).toEqual([[4, 8]])
  })

  it('are not compared with themselves', () => {
    const { changes, compared: count, without, notes } = compared([1], [1, 2], ['one.pdb', 'one.pdb'])
    expect([changes, count, without]).toEqual([[], 0, ['a.obj']])
    expect(notes).toEqual([expect.stringMatching(/^layouts were not compared: a\.obj: the types of both builds are in one\.pdb/)])
  })
})
