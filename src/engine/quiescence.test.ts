import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { StoppedThreads } from '../process/contract.ts'
import type { Guard } from './quiescence.ts'
import { prepareInspection } from './stacks/inspection.ts'

const threads = (pointers: readonly bigint[]): StoppedThreads => ({
  count: pointers.length,
  id: (i) => 100 + i,
  instructionPointer: (i) => pointers[i] as bigint,
  stackPointer: () => 0n,
  registers: (i, into) => {
    into[16] = Number(pointers[i])
  },
  threadPointer: () => Number.NaN,
  stack: () => ({ address: 0, length: 0, words: new Uint32Array(), at: 0 }),
  read: () => 0,
})

/** Instruction pointers alone. */
const inspectionOf = (instructions: readonly Guard[]) =>
  prepareInspection({ pid: 1, machine: 'x64' }, { instructions, frames: [] }, undefined)

test('a thread inside a guard is a blocker, one on its end is not', () => {
  const { inspect } = inspectionOf([
    { start: 0x2000n, end: 0x2005n, function: 1 },
    { start: 0x1000n, end: 0x1002n, function: 0 },
    { start: 0x3000n, end: 0x3000n, function: 2 },
  ])
  expect(inspect(threads([0xfffn, 0x1002n, 0x1fffn, 0x2005n, 0x3000n, 0xffff_ffff_ffff_ffffn, 0n]))).toBeUndefined()
  expect(inspect(threads([0x1002n, 0x2004n]))).toEqual({ threadId: 101, instructionPointer: 0x2004n, guard: 1 })
})

test('without guards nothing blocks', () => {
  expect(inspectionOf([]).inspect(threads([1n, 2n]))).toBeUndefined()
})

test('answers as a look at every guard for every thread does', () => {
  // Guards of 1 to 8 bytes that may touch but not overlap.
  const guards = fc.array(fc.record({ gap: fc.nat(3), size: fc.nat(8) }), { maxLength: 40 }).map((parts) => {
    let at = 1000
    return parts.map(({ gap, size }, i) => {
      const start = at + gap
      at = start + size
      return { start: BigInt(start), end: BigInt(at), function: i }
    })
  })
  fc.assert(
    fc.property(guards, fc.array(fc.integer({ min: 990, max: 1500 }), { maxLength: 20 }), fc.boolean(), (sorted, at, reversed) => {
      const pointers = at.map(BigInt)
      const given = reversed ? [...sorted].reverse() : sorted
      const first = pointers.findIndex((p) => sorted.some((g) => g.start <= p && p < g.end))
      const found = inspectionOf(given).inspect(threads(pointers))
      if (first < 0) {
        expect(found).toBeUndefined()
        return
      }
      const pointer = pointers[first] as bigint
      const guard = sorted.findIndex((g) => g.start <= pointer && pointer < g.end)
      expect(found).toEqual({ threadId: 100 + first, instructionPointer: pointer, guard })
    }),
  )
})
