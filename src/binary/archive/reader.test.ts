import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { isArchive, readArchive } from './reader.ts'

const folder = new URL('./fixtures/', import.meta.url)
const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, folder)))
const archives = readdirSync(folder).filter((name) => /\.(a|lib)$/.test(name))
const whole = archives.filter((name) => name !== 'thin.a')

test.each(whole)('%s has the members that llvm-ar lists', (name) => {
  const list = readFileSync(new URL(`${name}.list`, folder), 'utf8')
    .trim()
    .split('\n')
  expect(isArchive(fixture(name))).toBe(true)
  expect(readArchive(fixture(name)).map((m) => `${m.data.length} ${m.name}`)).toEqual(list)
})

test.each(['gnu.a', 'gnu-no-symbols.a', 'bsd.a', 'llvm-gnu.a'])('%s: contents', (name) => {
  const texts = Object.fromEntries(readArchive(fixture(name)).map((m) => [m.name, Buffer.from(m.data).toString()]))
  expect(texts).toEqual({ 'one.o': 'one', 'a_member_with_a_name_that_is_long.o': 'three' })
})

test('a thin archive is refused with its own code', () => {
  expect(isArchive(fixture('thin.a'))).toBe(true)
  expect(() => readArchive(fixture('thin.a'))).toThrow(expect.objectContaining({ code: 'ARCHIVE_THIN' }))
})

test('an archive without members', () => {
  expect(readArchive(Buffer.from('!<arch>\n'))).toEqual([])
  expect(isArchive(Buffer.from('!<arch>'))).toBe(false)
})

describe('damaged archives are read or refused', () => {
  test.each(archives)('%s', (name) => {
    const original = fixture(name)
    const change = fc.tuple(fc.nat(original.length - 1), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), fc.nat(original.length), (changes, length) => {
        const data = original.slice(0, length)
        for (const [at, value] of changes) if (at < length) data[at] = value
        try {
          for (const member of readArchive(data)) expect(member.data.length).toBeLessThanOrEqual(data.length)
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
      { numRuns: 300 },
    )
  })
})
