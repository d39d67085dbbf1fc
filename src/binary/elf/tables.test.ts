import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { viewOf } from '../struct.ts'
import { GnuHashHeader, STB } from './definitions.ts'
import { readElf } from './reader.ts'
import { encodeGnuHash, gnuHash, gnuHashOrder, gnuHashSize, StringTableBuilder } from './tables.ts'

/** As a loader looks a name up. */
function lookUp(table: Uint8Array, names: readonly string[], name: string): number | undefined {
  const view = viewOf(table)
  const { nbuckets, symoffset, bloom_size, bloom_shift } = GnuHashHeader.readAt(table, 0)
  const hash = gnuHash(name)
  const word = view.getBigUint64(GnuHashHeader.size + (Math.floor(hash / 64) % bloom_size) * 8, true)
  const mask = (1n << BigInt(hash % 64)) | (1n << BigInt((hash >>> bloom_shift) % 64))
  if ((word & mask) !== mask) return undefined
  const buckets = GnuHashHeader.size + bloom_size * 8
  const chains = buckets + nbuckets * 4
  let index = view.getUint32(buckets + (hash % nbuckets) * 4, true)
  if (index === 0) return undefined
  for (; ; index++) {
    const entry = view.getUint32(chains + (index - symoffset) * 4, true)
    if (((entry ^ hash) & ~1) === 0 && names[index - symoffset] === name) return index
    if (entry & 1) return undefined
  }
}

test('every name is found through the hash table, no other is', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { maxLength: 200 }), fc.string(), (given, other) => {
      const names = gnuHashOrder(given.map((name) => ({ name })))
      const table = encodeGnuHash(names, 1)
      expect(table.length).toBe(gnuHashSize(names.length))
      const texts = names.map((n) => n.name)
      texts.forEach((name, i) => {
        expect(lookUp(table, texts, name)).toBe(i + 1)
      })
      if (!texts.includes(other)) expect(lookUp(table, texts, other)).toBeUndefined()
    }),
  )
})

test("our hash finds names in a linker's table", () => {
  const elf = readElf(new Uint8Array(readFileSync(new URL('fixtures/gcc-12-bfd.so', import.meta.url))))
  const table = elf.sections.find((s) => s.name === '.gnu.hash')?.data() ?? new Uint8Array(0)
  const { symoffset } = GnuHashHeader.readAt(table, 0)
  const names = elf.dynamicSymbols().slice(symoffset)
  expect(names.length).toBeGreaterThan(3)
  for (const { name, index, binding } of names.filter((s) => s.name !== 'versioned')) {
    expect(binding).not.toBe(STB.LOCAL)
    expect(
      lookUp(
        table,
        names.map((s) => s.name),
        name,
      ),
    ).toBe(index)
  }
})

test('equal names share their place', () => {
  const strings = new StringTableBuilder()
  const [a, b, c] = ['one', 'two', 'one'].map((name) => strings.add(name))
  expect([a, b, c, strings.add('')]).toEqual([1, 5, 1, 0])
  expect(Buffer.from(strings.encode()).toString()).toBe('\0one\0two\0')
})
