import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../errors.ts'
import { FakeProcess, FakeTarget } from '../process/fake/index.ts'
import { findLedgers } from './find-ledgers.ts'
import { applyPatch, statusOf, verifyProcess } from './index.ts'
import { type LedgerBody, setState, setUnwindState, writeWord } from './ledger.ts'
import { encodeLedger, ledgerSize, readLedger } from './ledger-codec.ts'
import { LEDGER_HEADER, LEDGER_LAYOUT } from './ledger-format.ts'
import { newPatch, newTarget } from './testing/world.ts'

const AT = 0x7000_0000_0000n

const BODY: LedgerBody = {
  address: AT,
  regionSize: 0x3000,
  machine: 'x64',
  sequence: 3,
  predecessor: 0x4000_0000n,
  wholeAtOneInstant: true,
  base: { address: 0x5000_0000n, size: 0x10000, format: 'elf', timeDateStamp: 0x1234, checkSum: 0xffffffff },
  image: { address: 0x5001_0000n, size: 0x3000, fileSha256: new Uint8Array(32).fill(7) },
  unwind: { kind: 'eh_frame', address: 0x5001_0800n, size: 0x40 },
  callout: 0x5001_1040n,
  pairsOffset: 0x1000,
  pairCount: 1,
  functions: [
    {
      name: 'handle_größe',
      file: 'a.c',
      entryAddress: 0x5000_1000n,
      target: 0x5001_1000n,
      rva: 0x1000,
      size: 0x40,
      targetRva: 0x1000,
      targetSize: 0x50,
      region: AT,
      stubOffset: 0x1008,
      stubCode: Uint8Array.of(0xff, 0x25, 0xfa, 0x0f, 0, 0, 0xcc, 0xcc),
      kind: 'padding',
      safeWhileRunning: true,
      fragments: [{ rva: 0x800, size: 0x20 }],
    },
  ],
  sites: [
    {
      address: 0x5000_0ffbn,
      function: 0,
      phase: 'prepare',
      original: new Uint8Array(5).fill(0x90),
      replacement: new Uint8Array(5).fill(1),
    },
    { address: 0x5000_1000n, function: 0, phase: 'switch', original: Uint8Array.of(0x48, 0x83), replacement: Uint8Array.of(0xeb, 0xf9) },
  ],
  segments: [
    { rva: 0, size: 0x1000, protection: 'r', pageHashes: [new Uint8Array(32).fill(1)] },
    { rva: 0x1000, size: 0x1000, protection: 'rx', pageHashes: [new Uint8Array(32).fill(2)] },
    { rva: 0x2000, size: 0x1000, protection: 'rw', pageHashes: [] },
  ],
  names: {
    id: 'x',
    description: 'd',
    cves: ['CVE-2026-0001'],
    tool: '0.1.0',
    baseName: 'b',
    basePath: '/b',
    data: [{ name: 'counter', file: 'a.c', rva: 0x2008, size: 8 }],
    threadLocal: [
      { name: 'own', file: 'a.c', rva: 0x3010, size: 8, module: 'hotpatch-thread-local-0123456789abcdef.so', offset: 16, distance: -176n },
    ],
    escapes: { code: false, data: true, constants: false },
  },
}

function processWith(ledger: Uint8Array, at = AT): FakeProcess {
  const target = new FakeTarget({ pid: 1, name: 'x', modules: [] })
  target.addMapping(at, 0x4000, 'r', ledger, 'hotpatch:x:hpat')
  return new FakeProcess(target)
}

describe('a ledger', () => {
  test('is read as it was written', () => {
    const data = encodeLedger(BODY)
    expect(data).toHaveLength(ledgerSize(BODY))
    expect(readLedger(processWith(data), AT)).toEqual({
      ...BODY,
      names: { ...BODY.names, functions: [{ name: 'handle_größe', file: 'a.c', fragments: [{ rva: 0x800, size: 0x20 }] }] },
      state: 'loading',
      successor: 0n,
      fellow: 0n,
      imageState: 'mapped',
      calloutState: 'none',
      unwindState: 'none',
      unwindRegistration: 0n,
      switchedAt: 0,
      revertedAt: 0,
    })
  })

  test('changes by aligned words outside of its checksum', () => {
    const process = processWith(encodeLedger(BODY))
    setState(process, BODY, 'applied')
    setUnwindState(process, BODY, 'registered')
    writeWord(process, BODY, 'unwindRegistration', 0xfedc_ba98_7654_3210n)
    writeWord(process, BODY, 'switchedAt', 1_700_000_000_000n)
    expect(readLedger(process, AT)).toMatchObject({
      state: 'applied',
      unwindState: 'registered',
      unwindRegistration: 0xfedc_ba98_7654_3210n,
      switchedAt: 1_700_000_000_000,
    })
    for (const word of ['state', 'unwindState', 'unwindRegistration', 'switchedAt', 'revertedAt', 'successor'] as const)
      expect(LEDGER_HEADER.offsets[word] % 8).toBe(0)
  })

  test('lies where it says: a copy elsewhere is none', () => {
    const process = processWith(encodeLedger(BODY), AT + 0x10000n)
    expect(readLedger(process, AT + 0x10000n)).toBeUndefined()
    expect(findLedgers(process)).toEqual({ ledgers: [], damaged: [] })
  })

  test('of a later layout is said to be one', () => {
    const data = encodeLedger(BODY)
    data[LEDGER_HEADER.offsets.layout] = LEDGER_LAYOUT + 1
    expect(() => readLedger(processWith(data), AT)).toThrow(/its layout is 5/)
  })

  test('is found where the system joined its pages with a neighbour', () => {
    const data = new Uint8Array(0x8000)
    data.set(encodeLedger({ ...BODY, address: AT + 0x3000n }), 0x3000)
    const target = new FakeTarget({ pid: 1, name: 'x', modules: [] })
    target.addMapping(AT, 0x8000, 'r', data, '')
    expect(findLedgers(new FakeProcess(target)).ledgers.map(({ address }) => address)).toEqual([AT + 0x3000n])
  })

  test('with any byte of its records changed is damaged or none, never misread', () => {
    const data = encodeLedger(BODY)
    fc.assert(
      fc.property(fc.integer({ min: 0, max: data.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = data.slice()
        changed[at] = (changed[at] as number) ^ flip
        const mutable = at >= LEDGER_HEADER.offsets.state && at < LEDGER_HEADER.offsets.selfAddress
        try {
          const ledger = readLedger(processWith(changed), AT)
          if (!mutable) expect(ledger).toBeUndefined()
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
          expect((error as HotpatchError).code).toBe('LEDGER_DAMAGED')
        }
      }),
      { numRuns: 2000 },
    )
  })
})

test('whatever a process makes of its memory, status and verify answer or say what is damaged', async () => {
  const target = newTarget()
  const { mappings } = await applyPatch(new FakeProcess(target), newPatch())
  const region = mappings[1]
  if (region === undefined) throw new Error('no region')
  const start = BigInt(region.address)
  const whole = target.peek(start, region.size) ?? new Uint8Array()
  const writes = fc.array(fc.record({ at: fc.nat(1500), bytes: fc.uint8Array({ minLength: 1, maxLength: 16 }) }), {
    minLength: 1,
    maxLength: 6,
  })
  fc.assert(
    fc.property(writes, (list) => {
      target.poke(start, whole)
      for (const { at, bytes } of list) target.poke(start + BigInt(at), bytes)
      const process = new FakeProcess(target)
      statusOf(process)
      expect(['verified', 'differs', 'nothing-to-verify']).toContain(verifyProcess(process).outcome)
    }),
    { numRuns: 500 },
  )
})
