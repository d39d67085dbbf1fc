import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { wordsOf } from './arm64/instructions.ts'
import { mayAddress as mayAddressOnArm64 } from './arm64/may-address.ts'
import { mayAddress as mayAddressOnX64 } from './x64/may-address.ts'

const START = 0x7f20_0000_1000
const PAGE = 4096
const distance = fc.integer({ min: -0x7fff_0000, max: 0x7fff_0000 })

describe('addresses that x64 code may make', () => {
  test('are found in whatever code a LEA lies, with any register', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(7), fc.boolean(), distance, (before, register, upper, to) => {
        const lea = Buffer.from([upper ? 0x4c : 0x48, 0x8d, 0x05 | (register << 3), 0, 0, 0, 0])
        lea.writeInt32LE(to, 3)
        const place = START + before.length + lea.length + to
        const found = mayAddressOnX64(Uint8Array.from([...before, ...lea]), START, new Set([place, place + 1]))
        expect([...found]).toEqual([place])
      }),
    )
  })

  test('are numbers where the program lies below 4 GB', () => {
    // mov edi, 0x402004
    const code = Uint8Array.from([0xbf, 0x04, 0x20, 0x40, 0x00])
    expect([...mayAddressOnX64(code, 0x401000, new Set([0x402004, 0x402005]))]).toEqual([0x402004])
  })

  test('are none that a load or a jump has', () => {
    // mov rdi, [rip + 0x100]; call
    const code = Uint8Array.from([0x48, 0x8b, 0x3d, 0, 1, 0, 0, 0xe8, 0, 1, 0, 0])
    expect(mayAddressOnX64(code, START, new Set([START + 0x107, START + 0x10c])).size).toBe(0)
  })
})

describe('addresses that ARM64 code may make', () => {
  const NOP = 0xd503201f
  const adrp = (pages: number): number => (0x90000000 | ((pages & 3) << 29) | (((pages >> 2) & 0x7ffff) << 5)) >>> 0
  const adr = (bytes: number): number => (0x10000000 | ((bytes & 3) << 29) | (((bytes >> 2) & 0x7ffff) << 5)) >>> 0
  const add = (rest: number): number => (0x91000000 | (rest << 10)) >>> 0

  test('are found by ADRP and ADD, wherever these lie', () => {
    fc.assert(
      fc.property(fc.nat(20), fc.nat(20), fc.integer({ min: -1000, max: 1000 }), fc.nat(PAGE - 1), (before, between, pages, rest) => {
        const words = [...Array(before).fill(NOP), adrp(pages), ...Array(between).fill(NOP), add(rest)]
        const place = START + pages * PAGE + rest
        const other = place + PAGE
        expect([...mayAddressOnArm64(wordsOf(words), START, new Set([place, other]))]).toEqual([place])
      }),
    )
  })

  test('are found by ADR', () => {
    fc.assert(
      fc.property(fc.nat(20), fc.integer({ min: -(2 ** 20), max: 2 ** 20 - 1 }), (before, bytes) => {
        const words = [...Array(before).fill(NOP), adr(bytes)]
        const place = START + 4 * before + bytes
        expect([...mayAddressOnArm64(wordsOf(words), START, new Set([place]))]).toEqual([place])
      }),
    )
  })
})
