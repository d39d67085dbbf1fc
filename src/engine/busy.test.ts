import { expect, test } from 'vitest'
import { fakeBackend } from '../process/fake/index.ts'
import { BusyRecord } from './busy.ts'
import type { BlockingThread } from './stacks/inspection.ts'
import { newTarget } from './testing/world.ts'

const inFunction = (digest: number, frame = 0x7000n): BlockingThread => {
  const seen = { function: 0, address: 0x1010n, depth: 1, found: 'unwinding', frame } as const
  return { threadId: 11, innermost: seen, outermost: seen, standsInBytes: false, digest }
}

const met = (threads: readonly BlockingThread[]): BusyRecord => {
  const record = new BusyRecord()
  for (const thread of threads) record.add([thread])
  return record
}

test('a thread that comes to the same call again and again does not stand still', () => {
  expect(met([1, 2, 3, 4, 5, 6].map((digest) => inFunction(digest))).standsStill).toBe(false)
})

test('one that has the same registers at five tries in a row does', () => {
  expect(met([1, 1, 1, 1].map((digest) => inFunction(digest))).standsStill).toBe(false)
  expect(met([2, 1, 1, 1, 1, 1].map((digest) => inFunction(digest))).standsStill).toBe(true)
  expect(met([1, 1, 1, 1, 1, 2].map((digest) => inFunction(digest))).standsStill).toBe(false)
})

test('one that is in another call has moved, whatever its registers are', () => {
  expect(met([0x7000n, 0x7000n, 0x7100n, 0x7000n, 0x7000n, 0x7000n].map((frame) => inFunction(1, frame))).standsStill).toBe(false)
})

test('threads that take turns in being in the way are all followed; one that has left long ago is not', () => {
  const record = new BusyRecord()
  const met = (...threads: readonly number[]): readonly number[] => {
    record.add(threads.map((threadId) => ({ ...inFunction(1), threadId })))
    return record.recentThreads.toSorted()
  }
  expect(record.metAny).toBe(false)
  expect(met(12)).toEqual([12])
  expect(met(11, 13)).toEqual([11, 12, 13])
  expect(met(12)).toEqual([11, 12, 13])
  expect(met(12)).toEqual([11, 12, 13])
  expect(met(12)).toEqual([12])
  expect(record.metAny).toBe(true)
})

test('a thread whose stack cannot be read is named, without a function, and what can be done about it', () => {
  const seen = { function: -1, address: 0x7000_0000n, depth: 2, found: 'unreadable', frame: 0n } as const
  const thread: BlockingThread = { threadId: 11, innermost: seen, outermost: seen, standsInBytes: false, digest: 1 }
  const process = fakeBackend([newTarget()]).open(7)
  const error = met([thread, thread, thread, thread, thread]).error(process, () => 'of no function')
  expect(error.code).toBe('BUSY')
  expect(error.detail).toContain('thread 11 has a stack that cannot be read from 0x70000000 on, frame 2')
  expect(error.facts.reasons).toMatchObject([{ symbol: '', todo: expect.stringContaining('--consistency function') }])
})
