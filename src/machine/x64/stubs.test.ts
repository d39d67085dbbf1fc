import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeRemoteCallBlock, REMOTE_CALL_BLOCK } from '../call-block.ts'
import { decode, disassemble } from './decode.ts'
import {
  assemble,
  CALL_GADGET,
  encodeNearJump,
  encodePointerJump,
  encodeShortJump,
  findGadget,
  HPAT_STUB,
  hpatCodePage,
  REMOTE_CALL,
  REMOTE_CALL_SYSV,
  SYSCALL_GADGET,
} from './stubs.ts'
import { hex } from './testing/hex.ts'

describe('listings', () => {
  it.each([
    ['REMOTE_CALL', REMOTE_CALL],
    ['REMOTE_CALL_SYSV', REMOTE_CALL_SYSV],
    ['SYSCALL_GADGET', SYSCALL_GADGET],
    ['CALL_GADGET', CALL_GADGET],
  ])('%s says what its bytes do', (_, lines) => {
    expect(disassemble(assemble(lines), 0n)).toEqual(lines.map((line) => line.assembly))
  })

  it('HPAT_STUB says what its bytes do', () => {
    // The disassembler writes the absolute address: 6 + 0xFFA.
    expect(disassemble(assemble(HPAT_STUB), 0n)).toEqual(['jmp qword ptr [1000h]', 'int3', 'int3'])
  })
})

describe('hpatCodePage', () => {
  it('is 512 stubs, each of which jumps through its own pointer in the next page', () => {
    const page = hpatCodePage()
    expect(page.length).toBe(4096)
    expect(page.subarray(0, 8)).toEqual(hex('ff25fa0f0000cccc'))
    const jumps = decode(page).instructions.filter((i) => i.flow === 'jump-indirect')
    expect(jumps.map((i) => [i.offset, i.ripTarget])).toEqual(Array.from({ length: 512 }, (_, i) => [8 * i, 4096 + 8 * i]))
  })
})

describe('jumps', () => {
  it('have the exact bytes at the edges of their ranges', () => {
    const at = 0x7f00_0000_0000n
    expect(encodeShortJump(at, at - 126n)).toEqual(hex('eb80'))
    expect(encodeShortJump(at, at + 129n)).toEqual(hex('eb7f'))
    expect(encodeShortJump(at, at - 5n)).toEqual(hex('ebf9'))
    expect(encodeNearJump(at, at + 5n)).toEqual(hex('e900000000'))
    expect(encodeNearJump(at, at + 5n + 0x7fff_ffffn)).toEqual(hex('e9ffffff7f'))
    expect(encodeNearJump(at, at + 5n - 0x8000_0000n)).toEqual(hex('e900000080'))
    expect(encodePointerJump(at, at + 6n + 0x7fff_ffffn)).toEqual(hex('ff25ffffff7f'))
    expect(encodePointerJump(at, at + 6n - 0x8000_0000n)).toEqual(hex('ff2500000080'))
  })

  it('refuse one byte beyond', () => {
    const at = 0x7f00_0000_0000n
    const beyond = [
      () => encodeShortJump(at, at - 127n),
      () => encodeShortJump(at, at + 130n),
      () => encodeNearJump(at, at + 5n + 0x8000_0000n),
      () => encodeNearJump(at, at + 5n - 0x8000_0001n),
      () => encodePointerJump(at, at + 6n + 0x8000_0000n),
      () => encodePointerJump(at, at + 6n - 0x8000_0001n),
    ]
    for (const encode of beyond) expect(encode).toThrowError(expect.objectContaining({ code: 'REDIRECT_OUT_OF_REACH' }))
  })

  it('lead where they were told to', () => {
    fc.assert(
      fc.property(fc.bigInt(0x1_0000_0000n, 0x7fff_0000_0000n), fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }), (at, rel) => {
        const near = decode(encodeNearJump(at, at + 5n + BigInt(rel))).instructions
        expect(near.map((i) => [i.flow, i.target])).toEqual([['jump', 5 + rel]])
        const thunk = decode(encodePointerJump(at, at + 6n + BigInt(rel))).instructions
        expect(thunk.map((i) => [i.flow, i.ripTarget])).toEqual([['jump-indirect', 6 + rel]])
      }),
    )
  })
})

describe('remote calls', () => {
  it('lay out their block', () => {
    const block = encodeRemoteCallBlock(0x1122334455667788n, [1n, -1n])
    expect(block.length).toBe(REMOTE_CALL_BLOCK.size)
    expect(block).toEqual(hex(`8877665544332211 0100000000000000 ffffffffffffffff ${'00'.repeat(64)}`))
    expect(() => encodeRemoteCallBlock(0n, [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n])).toThrowError(expect.objectContaining({ code: 'DEFECT' }))
  })
})

describe('findGadget', () => {
  it('finds bytes anywhere, or says that there are none', () => {
    expect(findGadget(hex('b8 6e000000 0f05 c3').subarray(1), SYSCALL_GADGET)).toBe(4)
    expect(findGadget(hex('b8 000f0500 c3'), SYSCALL_GADGET)).toBe(2)
    expect(findGadget(hex('0f'), SYSCALL_GADGET)).toBeUndefined()
  })
})
