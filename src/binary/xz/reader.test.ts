import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { readXz } from './reader.ts'

const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url)))
const MOST = 1 << 20
const CASES = ['text.xz', 'text-crc32.xz', 'text-none.xz', 'text-blocks.xz', 'binary.xz', 'stored.xz']
const contentsOf = (name: string): Uint8Array => fixture(name.replace(/(-\w+)?\.xz$/, ''))

describe('.xz files', () => {
  it.each(CASES)('%s holds what xz has put into it', (name) => {
    expect(Buffer.compare(readXz(fixture(name), MOST), contentsOf(name))).toBe(0)
  })

  it.each(CASES)('%s holds no more than the caller allows', (name) => {
    const { length } = contentsOf(name)
    expect(readXz(fixture(name), length)).toHaveLength(length)
    expect(() => readXz(fixture(name), length - 1)).toThrow(/hold more than \d+ bytes/)
  })

  it('is not decompressed to see how much it holds, whatever its index says of that', () => {
    const bomb = fixture('bomb.xz')
    expect(bomb.length).toBeLessThan(20_000)
    expect(() => readXz(bomb, MOST)).toThrow(/hold more than \d+ bytes/)
  })

  it.each([
    ['x86.xz', 'MALFORMED', /filter/],
    ['two.xz', 'MALFORMED', /data after/],
    ['text-sha256.xz', 'MALFORMED', /SHA-256/],
    ['text', 'FORMAT_UNKNOWN', /do not begin as \.xz files do/],
  ])('%s is refused', (name, code, detail) => {
    const refusal = expect.objectContaining({ code, detail: expect.stringMatching(detail) })
    expect(() => readXz(fixture(name), MOST)).toThrow(refusal)
  })

  it.each(CASES)('%s: with any byte changed or any end cut off, is read to the same or refused', (name) => {
    const [whole, contents] = [fixture(name), contentsOf(name)]
    // Without a check of the contents, damage need not be seen.
    const isChecked = name !== 'text-none.xz'
    const attempt = (data: Uint8Array): void => {
      try {
        const read = readXz(data, MOST)
        if (isChecked) expect(Buffer.compare(read, contents)).toBe(0)
      } catch (error) {
        if (!(error instanceof HotpatchError)) throw error
        expect(['FORMAT_UNKNOWN', 'MALFORMED', 'TRUNCATED']).toContain(error.code)
      }
    }
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = whole.slice()
        damaged[at] = (damaged[at] as number) ^ flip
        attempt(damaged)
      }),
      { numRuns: 400 },
    )
    for (let length = 0; length < whole.length; length += 13) expect(() => readXz(whole.subarray(0, length), MOST)).toThrow(HotpatchError)
  })
})
