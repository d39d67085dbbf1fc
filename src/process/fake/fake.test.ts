import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import type { MapRequest } from '../contract.ts'
import { EngineKilled, exitAt, FakeTarget, failAt, fakeBackend, killEngineAt } from './index.ts'

const BASE = 0x400000n
const makeTarget = () =>
  new FakeTarget({
    pid: 7,
    name: 'server',
    modules: [
      {
        path: '/usr/sbin/server',
        base: BASE,
        format: 'elf',
        segments: [{ offset: 0, size: 0x1000, protection: 'rx', content: Uint8Array.of(1, 2, 3, 4) }],
      },
    ],
  })
const open = (target: FakeTarget) => fakeBackend([target]).open(target.pid)
const image: MapRequest = {
  address: 0x500000n,
  name: 'hotpatch:x',
  segments: [
    { offset: 0, size: 0x1000, protection: 'r', content: Uint8Array.of(1) },
    { offset: 0x1000, size: 0x1000, protection: 'rw', content: Uint8Array.of(2) },
  ],
}

describe('the fake process', () => {
  test('logs every step with what it did', () => {
    const target = makeTarget()
    const process = open(target)
    process.map(image)
    process.switchCode({ writes: [{ address: BASE, bytes: Uint8Array.of(9) }], inspect: () => undefined, stopTimeout: 1 })
    process.write(BASE + 1n, Uint8Array.of(8))
    process.unmap(image.address, 0x2000)
    expect(target.log.map((step) => step.kind)).toEqual(['map', 'map', 'stop', 'write', 'resume', 'write', 'unmap'])
    expect(target.log.filter((step) => step.kind === 'write').map((step) => step.stopped)).toEqual([true, false])
    expect([...(target.peek(BASE, 4) as Uint8Array)]).toEqual([9, 8, 3, 4])
  })

  test('an engine that is killed leaves what it did before, and its handle answers nothing more', () => {
    const target = makeTarget()
    const process = open(target)
    target.fault = killEngineAt(1)
    expect(() => process.map(image)).toThrow(EngineKilled)
    expect(() => process.unmap(image.address, 0x2000)).toThrow(EngineKilled)
    expect(() => process.regions()).toThrow(EngineKilled)
    target.fault = undefined
    const next = open(target)
    expect(next.read(image.address, 1)[0]).toBe(1)
    expect(() => next.read(image.address + 0x1000n, 1)).toThrow(/MEMORY_UNREADABLE/)
  })

  test('an engine that is killed during a switch leaves half of the writes; the threads run on', () => {
    const target = makeTarget()
    let resumed = 0
    target.onResume = () => resumed++
    target.fault = killEngineAt(2)
    const writes = [
      { address: BASE, bytes: Uint8Array.of(9) },
      { address: BASE + 1n, bytes: Uint8Array.of(9) },
    ]
    expect(() => open(target).switchCode({ writes, inspect: () => undefined, stopTimeout: 1 })).toThrow(EngineKilled)
    expect([...(target.peek(BASE, 2) as Uint8Array)]).toEqual([9, 2])
    expect(resumed).toBe(1)
  })

  test('a step that fails is undone with those before it', () => {
    const target = makeTarget()
    const before = target.regions()
    target.fault = failAt(1, new HotpatchError('MAPPING_REFUSED', 'a filter forbids it'))
    expect(() => open(target).map(image)).toThrow(/MAPPING_REFUSED/)
    target.fault = undefined
    expect(target.regions()).toEqual(before)
  })

  test('a target that ends in the middle is PROCESS_GONE from there on', () => {
    const target = makeTarget()
    const process = open(target)
    target.fault = exitAt(1)
    expect(() => process.map(image)).toThrow(/PROCESS_GONE/)
    expect(() => process.read(BASE, 1)).toThrow(/PROCESS_GONE/)
    expect(fakeBackend([target]).list()).toEqual([])
  })
})
