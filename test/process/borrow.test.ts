/** The thread that makes system calls for us gets everything back: registers of every kind, and what it was waiting in. */
import { arch } from 'node:process'
import { afterAll, describe, expect, test } from 'vitest'
import type { Process } from '../../src/process/contract.ts'
import { linuxBackend } from '../../src/process/linux/index.ts'
import { rounds } from '../brought.ts'
import { MODES, readCounters } from './counters.ts'
import { compile, endTargets, startApart, until, untilFree } from './targets.ts'

afterAll(endTargets)

const ROUNDS = rounds(60)

function mapAndUnmap(process: Process): void {
  const main = process.modules()[0]
  if (main === undefined) throw new Error('no main program')
  const near = main.base + BigInt(main.size)
  const address = process.findPlace({ size: 0x3000, near, low: near - 0x7000_0000n, high: near + 0x7000_0000n })
  if (address === undefined) throw new Error('no place')
  process.map({
    address,
    name: 'hotpatch:borrow',
    segments: [
      { offset: 0, size: 0x1000, protection: 'rx', content: Uint8Array.of(0xc3) },
      { offset: 0x1000, size: 0x2000, protection: 'rw', content: Uint8Array.of(1, 2, 3) },
    ],
  })
  process.unmap(address, 0x3000)
}

describe('a borrowed main thread', () => {
  test.each(MODES)('%s: hundreds of system calls, nothing lost', async (mode) => {
    const started = await startApart(compile('borrowed.c', 'borrowed'), [mode])
    await until('it printed its address', () => started.output().endsWith('\n'))
    const address = BigInt((JSON.parse(started.output()) as { counters: string }).counters)
    const process = linuxBackend.open(started.pid)
    for (let round = 0; round < ROUNDS; round++) {
      mapAndUnmap(process)
      process.switchCode({ writes: [], inspect: () => undefined, stopTimeout: 1000 })
      if (round % rounds(10) === 0) {
        const before = readCounters(process, address).rounds
        await until('it goes on', () => readCounters(process, address).rounds > before + 1n)
      }
    }
    const { bad, signals, wrong } = readCounters(process, address)
    expect({ bad, wrong }).toEqual({ bad: 0n, wrong: 0n })
    // On ARM64 some kernels tell what a call was given only while it waits (arm64/waiting.ts): a thread that goes on between the look and the stop sees EINTR.
    if (mode === 'epoll' && arch === 'x64') expect(signals).toBe(0n)
    if (mode === 'signals') expect(signals).toBeGreaterThan(20n)
    expect(process.regions().filter((region) => region.name.includes('hotpatch:'))).toEqual([])
    await untilFree(started.pid)
    process.close()
    await started.kill()
  })
})
