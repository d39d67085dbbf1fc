import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { framesOf } from '../../binary/dwarf/frames.ts'
import { FrameKind } from '../x64/frames.ts'
import { saying } from '../x64/testing/saying.ts'
import type { StackMemory } from '../x64/unwind.ts'
import { ehFrameTable, frameTable, leafTable } from './frames.ts'
import { wordsOf } from './instructions.ts'
import { FRAME_POINTER, LINK_REGISTER, PROGRAM_COUNTER, STACK_POINTER } from './registers.ts'
import { Walker } from './unwind.ts'

/** The section's address in 8 bytes, then the section: see fixtures/make.sh. */
const libm = (() => {
  const data = new Uint8Array(readFileSync(new URL('fixtures/libm.eh_frame', import.meta.url)))
  return { section: data.slice(8), address: new DataView(data.buffer).getBigUint64(0, true) }
})()

test('.eh_frame of a C library compiled by need says what the general way says', () => {
  const { section, address } = libm
  const table = ehFrameTable(section, Number(address), 0)
  const expected = frameTable(framesOf(section, address, 0n))
  expect(expected.starts.length).toBeGreaterThan(500)
  for (const [i, start] of expected.starts.entries())
    for (const at of [start, (expected.starts[i + 1] ?? start + 1) - 1]) expect(saying(table, at)).toEqual(saying(expected, at))
  expect(table.complex).toEqual([])
})

/** Code of one module, 0x1000 bytes for each function. */
const CODE = 0xaaaa_0000_0000
const STACK = 0xffff_f000_0000
const register = (number: number, offset: number) => ({ kind: 'register', register: number, offset }) as const
const savedAt = (...pairs: readonly (readonly [number, number])[]) =>
  new Map(pairs.map(([r, offset]) => [r, { kind: 'offset', offset } as const]))

const FUNCTIONS = [
  // A leaf: nothing is on the stack.
  { cfa: register(STACK_POINTER, 0), registers: savedAt() },
  // stp x29, x30, [sp, #-32]!
  { cfa: register(STACK_POINTER, 32), registers: savedAt([FRAME_POINTER, -32], [LINK_REGISTER, -24]) },
  // One that counts from x29, with more on the stack than it says.
  { cfa: register(FRAME_POINTER, 48), registers: savedAt([FRAME_POINTER, -48], [LINK_REGISTER, -40], [19, -32]) },
  // Nobody called it.
  { cfa: register(STACK_POINTER, 0), registers: new Map([[LINK_REGISTER, { kind: 'undefined' } as const]]) },
].map((row, i) => ({
  start: i * 0x1000,
  size: 0x1000,
  signal: false,
  rows: [{ start: 0, returnAddressSigned: true, ...row }],
}))
const inFunction = (index: number, offset = 0x10): number => CODE + index * 0x1000 + offset
const SIGRETURN = CODE + 0x8000

/** Memory by address; words as StoppedMemory gives them, without their upper 16 bits. */
class Memory implements StackMemory {
  readonly words = new Map<number, bigint>()

  word(address: number): number {
    const value = this.words.get(address)
    return value === undefined ? Number.NaN : Number(value & 0xffff_ffff_ffffn)
  }

  code(address: number, into: Uint8Array): number {
    const code = address === SIGRETURN ? wordsOf([0xd2801168, 0xd4000001]) : new Uint8Array(into.length)
    into.set(code.subarray(0, into.length))
    return into.length
  }
}

function walk(memory: Memory, registers: Readonly<Record<number, number>>): { end: string; frames: [number, boolean][] } {
  const walker = new Walker([{ start: CODE, end: CODE + 0x10000, table: frameTable(FUNCTIONS) }])
  walker.registers.fill(Number.NaN)
  for (const [number, value] of Object.entries(registers)) walker.registers[Number(number)] = value
  const frames: [number, boolean][] = []
  const end = walker.walk(memory, (address, _depth, exact) => {
    frames.push([address, exact])
    return false
  })
  return { end, frames }
}

/** A signature as pointer authentication puts it over a return address. */
const signed = (address: number): bigint => BigInt(address) | (0xb1a5n << 48n)

/** Two frames: function 1 called by function 2, called by function 3; return addresses signed. */
function twoFrames(memory: Memory, at: number): void {
  memory.words.set(at, BigInt(at + 64))
  memory.words.set(at + 8, signed(inFunction(2)))
  memory.words.set(at + 64, 0n)
  memory.words.set(at + 72, signed(inFunction(3)))
  memory.words.set(at + 80, 7n)
}

describe('a walk', () => {
  test('goes from a leaf through frames with signed return addresses to the outermost', () => {
    const memory = new Memory()
    twoFrames(memory, STACK)
    const found = walk(memory, { [PROGRAM_COUNTER]: inFunction(0), [LINK_REGISTER]: inFunction(1), [STACK_POINTER]: STACK })
    expect(found.frames).toEqual([
      [inFunction(0), true],
      [inFunction(1), false],
      [inFunction(2), false],
      [inFunction(3), false],
    ])
    expect(found.end).toBe('end')
  })

  test('goes through a signal frame to what was interrupted, exactly there', () => {
    const memory = new Memory()
    const interrupted = STACK + 0x2000
    twoFrames(memory, interrupted)
    // The handler is a leaf; its return address is the trampoline.
    const registers = STACK + 128 + 176 + 8
    for (let r = 0; r <= 30; r++) memory.words.set(registers + 8 * r, r === LINK_REGISTER ? signed(inFunction(1)) : 0n)
    memory.words.set(registers + 31 * 8, BigInt(interrupted))
    memory.words.set(registers + 32 * 8, BigInt(inFunction(0, 0)))
    const found = walk(memory, { [PROGRAM_COUNTER]: inFunction(0), [LINK_REGISTER]: SIGRETURN, [STACK_POINTER]: STACK })
    expect(found.frames).toEqual([
      [inFunction(0), true],
      [SIGRETURN, false],
      [inFunction(0, 0), true],
      [inFunction(1), false],
      [inFunction(2), false],
      [inFunction(3), false],
    ])
    expect(found.end).toBe('end')
  })

  test('is lost where a frame that is not the innermost put nothing on the stack', () => {
    const found = walk(new Memory(), { [PROGRAM_COUNTER]: inFunction(0), [LINK_REGISTER]: inFunction(0, 0x20), [STACK_POINTER]: STACK })
    expect(found).toEqual({
      end: 'lost',
      frames: [
        [inFunction(0), true],
        [inFunction(0, 0x20), false],
      ],
    })
  })

  test('is lost in code without unwind data, in memory that is not there, and with a signature that took bits of the address', () => {
    const at = { [STACK_POINTER]: STACK, [LINK_REGISTER]: inFunction(1) }
    expect(walk(new Memory(), { ...at, [PROGRAM_COUNTER]: CODE + 0x5000 }).end).toBe('lost')
    expect(walk(new Memory(), { ...at, [PROGRAM_COUNTER]: 0x1000 }).end).toBe('lost')
    expect(walk(new Memory(), { ...at, [PROGRAM_COUNTER]: inFunction(1) }).end).toBe('lost')
    expect(walk(new Memory(), { ...at, [PROGRAM_COUNTER]: inFunction(0), [LINK_REGISTER]: Number(signed(inFunction(1))) }).end).toBe('lost')
  })

  test('from a stub: the return address is where it was', () => {
    const table = leafTable()
    expect([table.kinds[table.rowAt(0x100)], table.operands[0]]).toEqual([FrameKind.rsp, 0])
  })
})
