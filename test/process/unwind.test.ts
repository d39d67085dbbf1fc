/** An exception passes through code that only `registerUnwind` made known, in a program whose unwinder is libgcc_s. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import type { Process } from '../../src/process/contract.ts'
import { linuxBackend } from '../../src/process/linux/index.ts'
import { hasEnd } from '../../src/process/linux/unwind.ts'
import { compile, endTargets, isAlive, startApart, until } from './targets.ts'

afterAll(endTargets)

/** sub $8,%rsp; call *%rdi; add $8,%rsp; ret */
const CODE = Uint8Array.of(0x48, 0x83, 0xec, 0x08, 0xff, 0xd7, 0x48, 0x83, 0xc4, 0x08, 0xc3)

/** One CIE, one FDE for `code`, and the end mark. */
function ehFrame(code: bigint, size: number): Uint8Array {
  const bytes = new Uint8Array(64)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 16, true)
  // CIE: version 1, no augmentation, code alignment 1, data alignment -8, return address in column 16; CFA = rsp + 8, column 16 at CFA - 8.
  bytes.set([1, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1], 8)
  view.setUint32(20, 28, true)
  view.setUint32(24, 24, true)
  view.setBigUint64(28, code, true)
  view.setBigUint64(36, BigInt(size), true)
  // After 4 bytes CFA = rsp + 16, after 6 more rsp + 8 again.
  bytes.set([0x44, 0x0e, 16, 0x46, 0x0e, 8], 44)
  return bytes
}

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  return bytes
}

const readU64 = (process: Process, address: bigint): bigint => new DataView(process.read(address, 8).buffer).getBigUint64(0, true)

describe('registerUnwind', () => {
  test('exceptions pass through a mapped image; taken away and mapped anew, again', async () => {
    const started = await startApart(compile('unwind.cc', 'unwind', [], 'g++'))
    await until('it printed its addresses', () => started.output().endsWith('\n'))
    const printed = JSON.parse(started.output()) as { hook: string; caught: string }
    const [hook, caught] = [BigInt(printed.hook), BigInt(printed.caught)]
    const process = linuxBackend.open(started.pid)
    for (let round = 0; round < 5; round++) {
      const main = process.modules()[0]
      if (main === undefined) throw new Error('no main program')
      const place = process.findPlace({ size: 0x2000, near: main.base, low: main.base - 0x7000_0000n, high: main.base + 0x7000_0000n })
      if (place === undefined) throw new Error('no place')
      const frames = ehFrame(place, CODE.length)
      process.map({
        address: place,
        name: 'hotpatch:unwind',
        segments: [
          { offset: 0, size: 0x1000, protection: 'rx', content: CODE },
          { offset: 0x1000, size: 0x1000, protection: 'r', content: frames },
        ],
      })
      const registration = process.registerUnwind({ kind: 'eh_frame', address: place + 0x1000n, size: frames.length })
      expect(registration).toEqual({ kind: 'eh_frame', address: place + 0x1000n })
      const before = readU64(process, caught)
      process.write(hook, u64(place))
      await until('exceptions are caught', () => readU64(process, caught) > before + 5n)
      process.write(hook, u64(0n))
      await sleep(30)
      if (registration !== undefined) process.unregisterUnwind(registration)
      process.unmap(place, 0x2000)
      expect(isAlive(started.pid)).toBe(true)
    }
    process.close()
    await started.kill()
  })

  test('a C program has no unwinder to be told', async () => {
    const started = await startApart(compile('borrowed.c', 'borrowed'), ['sleep'])
    await until('it printed its address', () => started.output().endsWith('\n'))
    const process = linuxBackend.open(started.pid)
    const main = process.modules()[0]
    if (main === undefined) throw new Error('no main program')
    expect(process.registerUnwind({ kind: 'eh_frame', address: main.base, size: 64 })).toBeUndefined()
    process.close()
    await started.kill()
  })

  test('a section without an end mark is not given to the unwinder', () => {
    expect(hasEnd(ehFrame(0n, 1))).toBe(true)
    expect(hasEnd(ehFrame(0n, 1).subarray(0, 52))).toBe(false)
    expect(hasEnd(new Uint8Array())).toBe(false)
    expect(hasEnd(new Uint8Array(4).fill(0xff))).toBe(false)
  })
})
