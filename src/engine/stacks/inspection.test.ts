import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CfaRow } from '../../binary/dwarf/cfa.ts'
import { frameTable, RETURN_ADDRESS, RSP } from '../../machine/x64/frames.ts'
import type { StoppedThreads } from '../../process/contract.ts'
import { type Guards, prepareInspection, type StackKnowledge } from './inspection.ts'

const PID = 7
const CODE = 0x40_0000
/** Functions of 0x100 bytes, each with a frame of 0x20 bytes; number 9 is a signal's trampoline, 10 has no unwind data. */
const address = (number: number, offset = 0x10): number => CODE + number * 0x100 + offset
const FRAME = 0x20

const row = (offset: number): CfaRow => ({
  start: 0,
  cfa: { kind: 'register', register: RSP, offset },
  registers: new Map([[RETURN_ADDRESS, { kind: 'offset', offset: -8 }]]),
  returnAddressSigned: false,
})
const described = (number: number, signal = false) => ({ start: number * 0x100, size: 0x100, rows: [row(FRAME)], signal })
const MODULES = [
  { start: CODE, end: CODE + 0x1000, table: frameTable([0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => described(n)).concat(described(9, true))) },
]
const STACK = { start: 0x7000_0000_0000n, end: 0x7000_0000_2000n, read: true, write: true, execute: false, name: '' }
const OTHER = { start: 0x7100_0000_0000n, end: 0x7100_0000_1000n, read: true, write: true, execute: false, name: '' }
const MAIN = { start: 0x7ffe_0000_0000n, end: 0x7ffe_0000_1000n, read: true, write: true, execute: false, name: '[stack]' }
const NEAR = { ...STACK, start: STACK.end + 0x1_0000n, end: STACK.end + 0x1_1000n }
const KNOWLEDGE = { modules: MODULES, regions: [STACK, NEAR, OTHER, MAIN] }

interface Thread {
  readonly id: number
  readonly ip: number
  readonly sp: number
  readonly threadPointer?: number
}

/** Memory is what `words` says, by address, and zero elsewhere in the regions. */
function stopped(threads: readonly Thread[], words: ReadonlyMap<number, number>, windowBytes = 0x400): StoppedThreads {
  const readable = (at: number): boolean => KNOWLEDGE.regions.some(({ start, end }) => Number(start) <= at && at < Number(end))
  const read = (from: number, into: Uint8Array): number => {
    const view = new DataView(into.buffer, into.byteOffset, into.byteLength)
    let length = 0
    for (; length + 8 <= into.length && readable(from + length); length += 8)
      view.setBigUint64(length, BigInt(words.get(from + length) ?? 0), true)
    return length
  }
  return {
    count: threads.length,
    id: (i) => (threads[i] as Thread).id,
    instructionPointer: (i) => BigInt((threads[i] as Thread).ip),
    stackPointer: (i) => BigInt((threads[i] as Thread).sp),
    registers(i, into) {
      into.fill(0)
      into[RSP] = (threads[i] as Thread).sp
      into[RETURN_ADDRESS] = (threads[i] as Thread).ip
    },
    threadPointer: (i) => (threads[i] as Thread).threadPointer ?? Number.NaN,
    stack(i) {
      const from = (threads[i] as Thread).sp
      const bytes = new Uint8Array(windowBytes)
      return { address: from, length: read(from, bytes), words: new Uint32Array(bytes.buffer), at: 0 }
    },
    read,
  }
}

const SP = Number(STACK.start) + 0x800
/** Return addresses of calls made from these places, innermost first; the outermost caller is nobody. */
const calls = (places: readonly number[], sp = SP): Map<number, number> =>
  new Map(places.map((place, depth) => [sp + (depth + 1) * FRAME - 8, place]))

const guardFrames = (...numbers: number[]): Guards => ({
  instructions: [],
  frames: numbers.map((n) => ({ start: BigInt(address(n, 1)), end: BigInt(address(n, 0x100)), function: n })),
})

const look = (
  guards: Guards,
  threads: readonly Thread[],
  words: ReadonlyMap<number, number>,
  windowBytes?: number,
  knowledge: StackKnowledge = KNOWLEDGE,
) => {
  const inspection = prepareInspection({ pid: PID, machine: 'x64' }, guards, knowledge)
  const blocker = inspection.inspect(stopped(threads, words, windowBytes))
  return { blocker, blocking: inspection.blocking, scanned: inspection.scanned }
}

describe('frames of stacks', () => {
  const thread = { id: 11, ip: address(0), sp: SP }

  test('a frame further up is found, with its depth and where it begins', () => {
    const { blocker, blocking, scanned } = look(guardFrames(3), [thread], calls([address(1), address(2), address(3), address(4)]))
    expect(blocker).toEqual({ threadId: 11, instructionPointer: BigInt(address(3)), guard: 3 })
    expect(blocking).toEqual([
      {
        threadId: 11,
        standsInBytes: false,
        digest: expect.any(Number),
        innermost: { function: 3, address: BigInt(address(3)), depth: 3, found: 'unwinding', frame: BigInt(SP + 4 * FRAME) },
        outermost: { function: 3, address: BigInt(address(3)), depth: 3, found: 'unwinding', frame: BigInt(SP + 4 * FRAME) },
      },
    ])
    expect(scanned).toBe(0)
  })

  test('the digest tells whether a thread has moved, within its frame too', () => {
    const words = calls([address(1), address(2)])
    const digest = (ip: number) => look(guardFrames(0), [{ ...thread, ip }], words).blocking[0]?.digest
    expect(digest(address(0))).toBe(digest(address(0)))
    expect(digest(address(0))).not.toBe(digest(address(0, 0x11)))
  })

  test('the innermost and the outermost of several, and every thread', () => {
    const second = { id: 12, ip: address(2), sp: SP + 0x400 }
    const words = new Map([...calls([address(1), address(2), address(1)]), ...calls([address(5)], SP + 0x400)])
    const { blocking } = look(guardFrames(1, 2), [thread, second, { ...thread, id: 13, sp: SP + 0xc00 }], words)
    expect(blocking.map(({ threadId, innermost, outermost }) => [threadId, innermost.function, innermost.depth, outermost.depth])).toEqual([
      [11, 1, 1, 3],
      [12, 2, 0, 0],
    ])
  })

  test('a return address behind the last call of a function belongs to it, one at its first byte to the function before', () => {
    const words = calls([address(4, 0)])
    expect(look(guardFrames(3), [thread], words).blocking).toHaveLength(1)
    expect(look(guardFrames(4), [thread], words).blocking).toHaveLength(0)
  })

  test('a thread on the first byte of a function is not inside it; interrupted there, it is', () => {
    expect(look(guardFrames(0), [{ ...thread, ip: address(0, 0) }], new Map()).blocking).toHaveLength(0)
    // Of number 9, a trampoline, the caller is what was interrupted.
    const { blocking } = look(guardFrames(3), [thread], calls([address(9), address(3, 0)]))
    expect(blocking.map(({ innermost }) => [innermost.function, innermost.depth])).toEqual([[3, 2]])
  })

  test('bytes that are rewritten: what was interrupted in them counts, whatever is asked of frames', () => {
    const instructions = [{ start: BigInt(address(3, 1)), end: BigInt(address(3, 5)), function: 3 }]
    const guards = { instructions, frames: [] }
    const inBytes = look(guards, [thread], calls([address(9), address(3, 2)])).blocking
    expect(inBytes.map(({ standsInBytes, innermost }) => [standsInBytes, innermost.depth])).toEqual([[true, 2]])
    expect(look(guards, [thread], calls([address(9), address(3, 8)])).blocking).toHaveLength(0)
    expect(look(guards, [thread], calls([address(3, 8)])).blocking).toHaveLength(0)
  })

  test('a stack that is deeper than what was read beforehand', () => {
    const places = Array.from({ length: 200 }, (_, i) => address(i === 199 ? 5 : 1))
    const { blocking, scanned } = look(
      guardFrames(5),
      [{ ...thread, sp: Number(STACK.start) + 0x40 }],
      calls(places, Number(STACK.start) + 0x40),
      64,
    )
    expect(blocking.map(({ innermost }) => innermost.depth)).toEqual([200])
    expect(scanned).toBe(0)
  })

  test('where nothing describes a frame, every word above it counts', () => {
    const words = new Map([...calls([address(1), address(10)]), [Number(STACK.end) - 8, address(6)]])
    const { blocking, scanned } = look(guardFrames(6), [thread], words)
    expect(scanned).toBe(1)
    expect(blocking.map(({ innermost }) => [innermost.function, innermost.found, innermost.depth])).toEqual([[6, 'scanning', 2]])
    // Below the frame that is lost nothing is looked at: it was unwound.
    expect(look(guardFrames(6), [thread], new Map([...calls([address(1), address(10)]), [SP + 8, address(6)]])).blocking).toEqual([])
  })

  test('lost on another stack, the whole own stack of the thread counts, up to its own data', () => {
    const lost = { id: 11, ip: address(10), sp: Number(OTHER.start) + 0x100, threadPointer: Number(STACK.start) + 0x1800 }
    const inside = new Map([[Number(STACK.start) + 0x20, address(6)]])
    const behind = new Map([[Number(STACK.start) + 0x1900, address(6)]])
    expect(look(guardFrames(6), [lost], inside).blocking).toHaveLength(1)
    expect(look(guardFrames(6), [lost], behind).blocking).toHaveLength(0)
    const main = { ...lost, id: PID }
    expect(look(guardFrames(6), [main], new Map([[Number(MAIN.end) - 8, address(6)]])).blocking).toHaveLength(1)
  })

  test('a stack that cannot be read: the thread is in the way, wherever it may be', () => {
    const nowhere = 0x7200_0000_0000
    const unread = { function: -1, depth: 0, found: 'unreadable', frame: 0n }
    const lost = { id: 11, ip: address(0), sp: nowhere }
    const { blocker, blocking, scanned } = look(guardFrames(6), [lost], new Map())
    expect(blocker).toEqual({ threadId: 11, instructionPointer: BigInt(nowhere), guard: -1 })
    expect(blocking).toMatchObject([{ threadId: 11, innermost: unread, outermost: unread, standsInBytes: false }])
    expect(scanned).toBe(1)
    // What is known of it comes first, and its own stack does not say what lies on the other.
    expect(look(guardFrames(0), [lost], new Map()).blocking).toMatchObject([{ innermost: { function: 0, found: 'instruction-pointer' } }])
    const own = { ...lost, threadPointer: Number(STACK.start) + 0x1800 }
    expect(look(guardFrames(6), [own], new Map()).blocking).toMatchObject([{ innermost: unread }])
    expect(look(guardFrames(6), [{ ...lost, id: PID }], new Map()).blocking).toMatchObject([{ innermost: unread }])
  })

  test('memory that has come since regions were asked for is a stack, and the very end of one an empty stack', () => {
    const regions = KNOWLEDGE.regions.filter((region) => region !== STACK)
    const lost = { id: 11, ip: address(10), sp: SP }
    expect(look(guardFrames(6), [lost], new Map(), 64, { ...KNOWLEDGE, regions }).blocking).toEqual([])
    const words = new Map([[SP + 8, address(6)]])
    expect(look(guardFrames(6), [lost], words, 64, { ...KNOWLEDGE, regions }).blocking).toMatchObject([{ innermost: { function: 6 } }])
    expect(look(guardFrames(6), [{ ...lost, sp: Number(STACK.end) }], new Map()).blocking).toEqual([])
  })

  test('unwinding that is led astray: every word counts from where the thread stands', () => {
    // What is taken for its frame ends where a region does: nothing can be read from there on.
    const misread = { start: 0xb00, size: 0x100, rows: [row(Number(NEAR.end) - SP)], signal: false }
    const modules = [{ start: CODE, end: CODE + 0x1000, table: frameTable([misread]) }]
    const words = new Map([
      [Number(NEAR.end) - 8, address(10)],
      [SP + 8, address(6)],
    ])
    expect(look(guardFrames(6), [{ id: 11, ip: address(11), sp: SP }], words, 64, { ...KNOWLEDGE, modules }).blocking).toMatchObject([
      { innermost: { function: 6, found: 'scanning' } },
    ])
  })

  test('a part of the own stack that has gone: the thread is in the way', () => {
    const lost = { id: 11, ip: address(10), sp: Number(OTHER.start) + 0x100, threadPointer: Number(STACK.end) + 0x800 }
    const longer = { ...STACK, end: STACK.end + 0x1000n }
    const regions = [longer, OTHER]
    expect(look(guardFrames(6), [lost], new Map(), 64, { ...KNOWLEDGE, regions }).blocking).toMatchObject([
      { innermost: { found: 'unreadable', address: STACK.end } },
    ])
  })

  test('a pointer to the start of a function is no return address into it', () => {
    const words = new Map([...calls([address(10)]), [SP + 0x100, address(6, 0)]])
    expect(look(guardFrames(6), [thread], words).blocking).toEqual([])
  })

  test('isOut looks at one thread and leaves the last result alone', () => {
    const inspection = prepareInspection({ pid: PID, machine: 'x64' }, guardFrames(3), KNOWLEDGE)
    const view = stopped([thread, { ...thread, id: 12, sp: SP + 0x400 }], calls([address(3)]))
    inspection.inspect(view)
    expect([inspection.isOut(view, 0), inspection.isOut(view, 1)]).toEqual([false, true])
    expect(inspection.blocking).toHaveLength(1)
  })

  test('any calls: those found are those that were made', () => {
    const place = fc.record({ number: fc.integer({ min: 0, max: 8 }), offset: fc.integer({ min: 2, max: 0x100 }) })
    fc.assert(
      fc.property(
        fc.array(place, { maxLength: 40 }),
        fc.integer({ min: 0, max: 8 }),
        fc.constantFrom(32, 256, 4096),
        (places, guarded, bytes) => {
          const words = calls(places.map(({ number, offset }) => address(number, offset)))
          const { blocking, scanned } = look(guardFrames(guarded), [thread], words, bytes)
          const depths = places.flatMap(({ number }, i) => (number === guarded ? [i + 1] : []))
          if (guarded === 0) depths.unshift(0)
          expect(scanned).toBe(0)
          expect(blocking.map(({ innermost, outermost }) => [innermost.depth, outermost.depth])).toEqual(
            depths.length === 0 ? [] : [[depths[0], depths.at(-1)]],
          )
        },
      ),
    )
  })
})
