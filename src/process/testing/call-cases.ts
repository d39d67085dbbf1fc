/** Calls of functions inside the process. */
import assert from 'node:assert/strict'
import { HotpatchError } from '../../errors.ts'
import type { Process } from '../contract.ts'
import { type ConformanceCase, throwsCode } from './case.ts'
import { MACHINE } from './target.ts'

const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer)

/** The code of functions, by the calling convention of the target. */
export const CALLED = {
  /** u64 f(u64 *p, u64 a, u64 b, u64 c) { return *p += a + b + c; } */
  sum: {
    // mov rax,[rdi]; add rax,rsi; add rax,rdx; add rax,rcx; mov [rdi],rax; ret
    elf: Uint8Array.of(0x48, 0x8b, 0x07, 0x48, 0x01, 0xf0, 0x48, 0x01, 0xd0, 0x48, 0x01, 0xc8, 0x48, 0x89, 0x07, 0xc3),
    // mov rax,[rcx]; add rax,rdx; add rax,r8; add rax,r9; mov [rcx],rax; ret
    pe: Uint8Array.of(0x48, 0x8b, 0x01, 0x48, 0x01, 0xd0, 0x4c, 0x01, 0xc0, 0x4c, 0x01, 0xc8, 0x48, 0x89, 0x01, 0xc3),
    // ldr x4,[x0]; add x4,x4,x1; add x4,x4,x2; add x4,x4,x3; str x4,[x0]; mov x0,x4; ret
    arm64: words(0xf9400004, 0x8b010084, 0x8b020084, 0x8b030084, 0xf9000004, 0xaa0403e0, 0xd65f03c0),
  },
  /** u64 f(void) { for (u64 i = 2e9; --i;); return 0; }: mov eax,77359400h; dec rax; jne; ret */
  slow: {
    elf: Uint8Array.of(0xb8, 0x00, 0x94, 0x35, 0x77, 0x48, 0xff, 0xc8, 0x75, 0xfb, 0xc3),
    pe: Uint8Array.of(0xb8, 0x00, 0x94, 0x35, 0x77, 0x48, 0xff, 0xc8, 0x75, 0xfb, 0xc3),
    // A tenth as often, for emulated machines: mov x0,#0c200h; movk x0,#0bebh,lsl 16; subs x0,x0,#1; b.ne -4; ret
    arm64: words(0xd2984000, 0xf2a17d60, 0xf1000400, 0x54ffffe1, 0xd65f03c0),
  },
  /** x64: ud2; arm64: udf #0 */
  faulty: { elf: Uint8Array.of(0x0f, 0x0b), pe: Uint8Array.of(0x0f, 0x0b), arm64: words(0) },
} as const

const DEADLINE = { deadlineMs: 5000 }

/** Maps one of them; its address. */
function bring(process: Process, name: keyof typeof CALLED): bigint {
  const main = process.modules()[0]
  assert.ok(main)
  const place = process.findPlace({ size: 0x1000, near: main.base, low: 0n, high: 1n << 47n })
  assert.ok(place !== undefined)
  const content = CALLED[name][MACHINE === 'arm64' ? MACHINE : main.format]
  process.map({ address: place, name: 'hotpatch:called', segments: [{ offset: 0, size: 0x1000, protection: 'rx', content }] })
  return place
}

const little = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  return bytes
}

const mappedCalls = (process: Process): number =>
  process.regions().filter(({ name }) => name.includes('hotpatch:call ') || name.endsWith('hotpatch:call')).length

/** On a busy machine the deadline, which must be short here, may pass before a thread is found. */
function whenOneIsFit<T>(action: () => T): T {
  for (let attempt = 1; ; attempt++)
    try {
      return action()
    } catch (error) {
      if (!(error instanceof HotpatchError) || error.code !== 'NO_SAFE_THREAD' || attempt === 100) throw error
    }
}

export const CALL_CASES: readonly ConformanceCase[] = [
  {
    name: 'call: the function gets its arguments, bytes by their address, and its result comes back whole',
    async run({ process, control }) {
      await control.setWorkers(2)
      const sum = bring(process, 'sum')
      const regions = process.regions().length
      for (let round = 0n; round < 5n; round++) {
        const bytes = little(0x1122_3344_5566_7788n + round)
        assert.equal(process.call(sum, [bytes, 1n, 0x8000_0000_0000_0000n, 3n], DEADLINE), 0x9122_3344_5566_778cn + round)
        assert.deepEqual(bytes, little(0x1122_3344_5566_7788n + round), 'what the caller gave was changed')
      }
      assert.equal(mappedCalls(process), 0)
      assert.ok(process.regions().length <= regions + 4)
    },
  },
  {
    name: 'call: a function of the program itself, while another thread is at work',
    async run({ process, target, control }) {
      await control.startSpinning()
      assert.equal(process.call(target.symbols.value, [], DEADLINE) & 0xffff_ffffn, 1n)
      await control.stopSpinning()
    },
  },
  {
    name: 'calls: one after the other share their memory, which is taken back behind them, also where one of them threw',
    async run({ process, control }) {
      await control.setWorkers(2)
      const sum = bring(process, 'sum')
      const mapped = process.calls((call) =>
        [1n, 2n, 3n].map((n) => {
          assert.equal(call(sum, [little(n), n, 0n, 0x10n], DEADLINE), 2n * n + 0x10n)
          return mappedCalls(process)
        }),
      )
      assert.equal(new Set(mapped).size, 1, `${mapped} regions`)
      assert.equal(mappedCalls(process), 0)
      const thrown = new Error('nothing of a call')
      const failing = () =>
        process.calls((call) => {
          call(sum, [little(1n), 1n, 1n, 1n], DEADLINE)
          throw thrown
        })
      assert.throws(failing, thrown)
      assert.equal(mappedCalls(process), 0)
    },
  },
  {
    name: 'calls: behind one that did not return in time the next has memory of its own',
    async run({ process, control }) {
      await control.setWorkers(2)
      const [slow, sum] = [bring(process, 'slow'), bring(process, 'sum')]
      process.calls((call) => {
        throwsCode('CALL_TIMEOUT', () => whenOneIsFit(() => call(slow, [], { deadlineMs: 30 })))
        assert.equal(call(sum, [little(1n), 2n, 3n, 4n], DEADLINE), 10n)
      })
      assert.ok(mappedCalls(process) > 0)
      await control.setWorkers(1)
    },
  },
  {
    name: 'call: what does not return in time is CALL_TIMEOUT, comes to its end by itself, and its memory stays',
    async run({ process, control }) {
      const slow = bring(process, 'slow')
      throwsCode('CALL_TIMEOUT', () => whenOneIsFit(() => process.call(slow, [], { deadlineMs: 30 })))
      assert.ok(mappedCalls(process) > 0)
      // The thread that was used has work to do, too.
      await control.setWorkers(3)
      await control.setWorkers(1)
    },
  },
]

/** Where a fault is not the end of the process. */
export const FAULT_CASES: readonly ConformanceCase[] = [
  {
    name: 'call: a function that faults is CALL_FAULTED, and the process goes on',
    async run({ process, control }) {
      const faulty = bring(process, 'faulty')
      throwsCode('CALL_FAULTED', () => process.call(faulty, [], DEADLINE))
      assert.equal(mappedCalls(process), 0)
      await control.setWorkers(3)
    },
  },
]
