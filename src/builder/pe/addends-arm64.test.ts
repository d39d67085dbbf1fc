import { describe, expect, test } from 'vitest'
import type { CoffSymbol } from '../../binary/coff/symbols.ts'
import { wordsOf } from '../../machine/arm64/instructions.ts'
import type { EdgeKind } from '../../machine/edges.ts'
import { arm64Addend, withWholeAddends } from './addends-arm64.ts'
import type { Reference } from './reference.ts'
import type { KeptSection } from './sections.ts'

const at = (kind: EdgeKind, word: number) => arm64Addend(kind, wordsOf([word]), 0)

describe('an addend in an instruction', () => {
  test.each<[EdgeKind, number, number]>([
    // adrp x8, with 0x20004 and -4 in its field
    ['page21', 0x90100028, 0x20004],
    ['page21', 0x90ffffe8, -4],
    ['adr21', 0x70ffffe0, -1],
    // add x0, x0, #0x123; ldr x0, [x8, #8]; ldr w0, [x8, #8]; ldr q0, [x8, #16]
    ['pageoff12', 0x91048c00, 0x123],
    ['pageoff12', 0xf9400500, 8],
    ['pageoff12', 0xb9400900, 8],
    ['pageoff12', 0x3dc00500, 16],
    ['branch26', 0x94000000, 0],
  ])('of %s 0x%s is in bytes', (kind, word, addend) => expect(at(kind, word)).toBe(addend))

  test('of a branch, or where nothing is added to a page, is refused', () => {
    for (const [kind, word] of [
      ['branch26', 0x94000001],
      ['branch19', 0x54000020],
      ['pageoff12', 0xd503201f],
    ] as const)
      expect(() => at(kind, word)).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
  })
})

test('the rest of a page has the addend of the ADRP that goes with it, by its register', () => {
  const [from, target] = [{} as KeptSection, {} as CoffSymbol]
  // adrp x8; adrp x9; add x0, x9, #8; add x0, x8, #8
  const content = wordsOf([0x90000008, 0x90000009, 0x91002120, 0x91002100])
  const reference = (index: number, kind: EdgeKind, addend: number): Reference => ({ from, target, offset: 4 * index, kind, addend })
  const whole = withWholeAddends(
    [reference(0, 'page21', 0x5008), reference(1, 'page21', -0xff8), reference(2, 'pageoff12', 8), reference(3, 'pageoff12', 8)],
    content,
  )
  expect(whole.map(({ addend }) => addend)).toEqual([0x5008, -0xff8, -0xff8, 0x5008])
})
