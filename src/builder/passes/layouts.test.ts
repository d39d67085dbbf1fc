import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { diffBuilds } from '../diff.ts'

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
