import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SlotAccess } from '../architecture.ts'
import type { EdgeKind } from '../edges.ts'
import { NOP, wordAt, wordsOf } from './instructions.ts'
import { agrees, callOf, toInitialExec, toLocalExec, withSlot } from './thread-local.ts'

const words = (content: Uint8Array): string[] =>
  Array.from({ length: content.length / 4 }, (_, i) =>
    wordAt(content, 4 * i)
      .toString(16)
      .padStart(8, '0'),
  )

const page = (field: number): SlotAccess => ({ field, kind: 'page21' })
const rest = (field: number): SlotAccess => ({ field, kind: 'pageoff12' })

describe('by a distance from the thread pointer', () => {
  /** At 0x12340 from it: what GNU ld makes of gcc's objects (`objdump -d`). */
  it.each<[title: string, kind: EdgeKind, object: number, linked: number]>([
    ['add, the high bits', 'tprelhi12', 0x91400021, 0x91404821],
    ['add, the low bits', 'tprello12', 0x91000021, 0x910d0021],
    ['a load of 4 bytes', 'tprello12', 0xb9400020, 0xb9434020],
    ['a load of 16 bytes', 'tprello12', 0x3dc00020, 0x3dc0d020],
    ['movz', 'tprelmovw16', 0xd2a00001, 0xd2a00021],
    ['movk', 'tprelmovw16', 0xf2800001, 0xf2846801],
  ])('%s', (_title, kind, object, linked) => {
    const content = wordsOf([object])
    expect(toLocalExec(kind, content, 0, 0x12340)).toBe(true)
    expect(words(content)).toEqual(words(wordsOf([linked])))
    expect(agrees(kind, content, 0x12340)).toBe(true)
    expect(agrees(kind, content, 0x21430)).toBe(false)
  })

  it.each<[title: string, kind: EdgeKind, object: number, distance: number]>([
    ['24 bits are not enough', 'tprelhi12', 0x91400021, 2 ** 24],
    ['12 bits are not enough', 'tprel12', 0x91000021, 2 ** 12],
    ['movz has the highest bits', 'tprelmovw16', 0xd2a00001, 2 ** 32],
    ['a load cannot reach between its units', 'tprello12', 0xb9400020, 0x12342],
    ['nothing lies before the thread pointer', 'tprelhi12', 0x91400021, -16],
    ['no addition', 'tprello12', 0xd65f03c0, 16],
    ['no move', 'tprelmovw16', 0x91000021, 16],
    ['another model', 'gottprelpage21', 0x90000000, 16],
  ])('not where %s', (_title, kind, object, distance) => {
    const content = wordsOf([object])
    expect(toLocalExec(kind, content, 0, distance)).toBe(false)
    expect(words(content)).toEqual(words(wordsOf([object])))
  })

  it('the additions make the distance', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 24 - 1 }), (distance) => {
        const content = wordsOf([0x91400021, 0x91000021])
        expect(toLocalExec('tprelhi12', content, 0, distance) && toLocalExec('tprello12', content, 4, distance)).toBe(true)
        const [high, low] = [wordAt(content, 0), wordAt(content, 4)].map((word) => (word >>> 10) & 0xfff) as [number, number]
        expect(high * 2 ** 12 + low).toBe(distance)
      }),
    )
  })

  it('an addition of nothing may have been left out', () => {
    expect(agrees('tprelhi12', wordsOf([NOP]), 16)).toBe(true)
    expect(agrees('tprelhi12', wordsOf([NOP]), 0x12340)).toBe(false)
    expect(agrees('tprello12', wordsOf([0xd65f03c0]), 16)).toBeUndefined()
  })
})

describe('through a slot with the distance, as GNU ld writes it', () => {
  it('a descriptor: it is loaded, and nothing called', () => {
    const content = wordsOf([0x90000000, 0xf9400002, 0x91000000, 0xd63f0040])
    expect(toInitialExec('tlsdescpage21', content, 0)).toEqual(page(0))
    expect(toInitialExec('tlsdesclo12', content, 4)).toEqual(rest(4))
    expect(toInitialExec('tlsdesclo12', content, 8)).toBe('no-field')
    expect(toInitialExec('tlsdescblr', content, 12)).toBe('no-field')
    expect(words(content)).toEqual(['90000000', 'f9400000', 'd503201f', 'd503201f'])
  })

  it('general dynamic: instead of the call the thread pointer is added', () => {
    const content = wordsOf([0x90000000, 0x91000000, 0x94000000, NOP])
    expect(callOf('tlsgdlo12', content, 4)).toBe(4)
    expect(toInitialExec('tlsgdpage21', content, 0)).toEqual(page(0))
    expect(toInitialExec('tlsgdlo12', content, 4)).toEqual(rest(4))
    expect(words(content)).toEqual(['90000000', 'f9400000', 'd53bd041', '8b000020'])
  })

  it('initial exec stays', () => {
    const content = wordsOf([0x90000001, 0xf9400021])
    expect(toInitialExec('gottprelpage21', content, 0)).toEqual(page(0))
    expect(toInitialExec('gottprello12', content, 4)).toEqual(rest(4))
    expect(words(content)).toEqual(['90000001', 'f9400021'])
  })

  it('what is no such sequence stays as it is', () => {
    const kinds: EdgeKind[] = ['tlsdescpage21', 'tlsdesclo12', 'tlsdescblr', 'tlsgdpage21', 'tlsgdlo12']
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 1, maxLength: 4 }),
        (kind, code) => {
          const content = wordsOf(code)
          const before = content.slice()
          if (toInitialExec(kind, content, 0) === undefined) expect(content).toEqual(before)
        },
      ),
    )
    // Through another register than x0; a call that is followed by something that does.
    expect(toInitialExec('tlsdescpage21', wordsOf([0x90000001]), 0)).toBeUndefined()
    expect(toInitialExec('tlsdesclo12', wordsOf([0xf9400022]), 0)).toBeUndefined()
    expect(toInitialExec('tlsgdlo12', wordsOf([0x91000000, 0x94000000, 0xd65f03c0]), 0)).toBeUndefined()
  })
})

it('code that stays gets a slot of its own', () => {
  expect(withSlot('tlsdescpage21', 8)).toEqual(page(8))
  expect(withSlot('tlsgdlo12', 8)).toEqual(rest(8))
  expect(withSlot('tlsdescblr', 8)).toBe('no-field')
  expect(withSlot('tprelhi12', 8)).toBeUndefined()
})
