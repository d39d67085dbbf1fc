import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { EdgeKind } from '../edges.ts'
import { wordsOf } from './instructions.ts'
import { seen } from './linking.ts'

/** What a page and the low bits behind it lead to in an image that has `words` at `at`. */
function leads(at: number, words: readonly number[], kind: EdgeKind = 'gotpage21') {
  const code = wordsOf(words)
  const image = {
    preferredBase: 0n,
    relocatable: true,
    bytes: (rva: number, length: number) =>
      rva < at || rva + length > at + code.length ? undefined : code.subarray(rva - at, rva - at + length),
  }
  const siblings = () => [{ kind: kind === 'gotpage21' ? ('gotpageoff12' as const) : ('pageoff12' as const), distance: 4 }]
  return seen({ kind, place: at, addend: 0, siblings, content: undefined, field: 0 }, image)
}

const adr = (from: number, to: number): number => (0x10000001 | (((to - from) & 3) << 29) | ((((to - from) >> 2) & 0x7ffff) << 5)) >>> 0
const adrp = (from: number, to: number): number => {
  const pages = Math.floor(to / 4096) - Math.floor(from / 4096)
  return (0x90000001 | ((pages & 3) << 29) | (((pages >> 2) & 0x7ffff) << 5)) >>> 0
}
/** LDR x1, [x1, #offset]. */
const load = (offset: number): number => (0xf9400021 | ((offset / 8) << 10)) >>> 0

describe('where a reference by pages leads in a linked image', () => {
  test('to a slot of the GOT: as libcurl has it, and with the ADR of a page that GNU ld made of the ADRP at the end of a page', () => {
    expect(leads(0x1637c, [0xb000045c, 0xf947ab9c])).toEqual({ at: 'slot', rva: 0x9ff50 })
    expect(leads(0x16ff8, [0x10440041, 0xf947a821])).toEqual({ at: 'slot', rva: 0x9ff50 })
  })

  test('is the same by ADRP and by the ADR of a page', () => {
    fc.assert(
      fc.property(fc.nat(0x3ffff), fc.integer({ min: -200, max: 200 }), fc.nat(511), (word, pages, offset) => {
        const at = 4 * word
        const page = (Math.floor(at / 4096) + pages) * 4096
        const low = load(8 * offset)
        expect(leads(at, [adr(at, page), low])).toEqual(leads(at, [adrp(at, page), low]))
      }),
    )
  })

  test('to an address that is near: by ADR in the place of either', () => {
    expect(leads(0x1000, [0xd503201f, adr(0x1004, 0x2344)], 'page21')).toEqual({ at: 'rva', rva: 0x2344 })
    expect(leads(0x1000, [adr(0x1000, 0x2344), 0xd503201f], 'page21')).toEqual({ at: 'rva', rva: 0x2344 })
  })
})
