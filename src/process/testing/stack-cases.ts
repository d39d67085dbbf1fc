import assert from 'node:assert/strict'
import type { Process, StoppedThreads } from '../contract.ts'
import { BELOW } from '../stack-windows.ts'
import { begunThreads, type ConformanceCase } from './case.ts'
import { MACHINE } from './target.ts'

const BYTES = 4096
/** DWARF's numbers of the stack and the instruction pointer, which is the last. */
const [SP, IP] = MACHINE === 'arm64' ? [31, 32] : [7, 16]
const HIGH = MACHINE === 'arm64' ? 0xffff_0000_0000n : 0x7fff_0000_0000n

/** Looks at the stopped threads; nothing is written. */
function look(process: Process, inspect: (stopped: StoppedThreads) => void, bytes = BYTES): void {
  process.switchCode({
    writes: [],
    stopTimeout: 5000,
    stacks: { bytes, regions: process.regions() },
    inspect(stopped) {
      inspect(stopped)
      return undefined
    },
  })
}

export const STACK_CASES: readonly ConformanceCase[] = [
  {
    name: 'stacks: the registers of each thread have its instruction and stack pointers',
    async run({ process, target, control }) {
      await control.setWorkers(3)
      await control.startSpinning()
      let inSpin = 0
      look(process, (stopped) => {
        const registers = new Float64Array(IP + 1)
        for (let i = 0; i < stopped.count; i++) {
          registers.fill(Number.NaN)
          stopped.registers(i, registers)
          assert.equal(registers[IP], Number(stopped.instructionPointer(i)))
          assert.equal(registers[SP], Number(stopped.stackPointer(i)))
          assert.ok(registers.every((value) => value >= 0))
          const pointer = stopped.instructionPointer(i)
          if (pointer >= target.symbols.spin && pointer < target.symbols.spinEnd) inSpin++
        }
      })
      assert.equal(inSpin, 1)
      await control.stopSpinning()
    },
  },
  {
    name: 'rehearse: comes before inspect and shows no thread that is not there',
    async run({ process, control }) {
      await control.setWorkers(5)
      const order: string[] = []
      const known = begunThreads(process).length
      let shown = 0
      process.switchCode({
        writes: [],
        stopTimeout: 5000,
        stacks: { bytes: BYTES, regions: process.regions() },
        rehearse(waiting) {
          order.push('rehearse')
          shown = waiting.count
          const registers = new Float64Array(IP + 1)
          for (let i = 0; i < waiting.count; i++) {
            waiting.registers(i, registers)
            const { address, length } = waiting.stack(i)
            assert.ok(address <= (registers[SP] as number) && (registers[SP] as number) < address + length)
          }
        },
        inspect(stopped) {
          order.push('inspect')
          assert.equal(stopped.count, known)
          return undefined
        },
      })
      assert.deepEqual(order, ['rehearse', 'inspect'])
      assert.ok(shown <= known)
    },
  },
  {
    name: 'stacks: each is read from below its stack pointer, up to the end of its region, as memory has it',
    async run({ process, control }) {
      await control.setWorkers(5)
      const regions = process.regions()
      const seen: { sp: bigint; address: number; length: number; matches: boolean }[] = []
      look(process, (stopped) => {
        for (let i = 0; i < stopped.count; i++) {
          const { address, length, words, at } = stopped.stack(i)
          const bytes = new Uint8Array(words.buffer, words.byteOffset + at * 4, length)
          const memory = process.read(BigInt(address), length)
          seen.push({ sp: stopped.stackPointer(i), address, length, matches: Buffer.compare(bytes, memory) === 0 })
        }
      })
      assert.equal(seen.length, begunThreads(process).length)
      for (const { sp, address, length, matches } of seen) {
        const region = regions.find((candidate) => candidate.start <= sp && sp < candidate.end)
        assert.ok(region, 'a stack outside of every region')
        const start = Math.max(Number(region.start), Math.floor((Number(sp) - BELOW) / 8) * 8)
        assert.equal(address, start)
        assert.equal(length, Math.min(BYTES, Number(region.end) - start))
        assert.ok(matches, 'the window differs from memory')
      }
    },
  },
  {
    name: 'stacks: a window where nothing is known of the memory is not larger than what can be read',
    async run({ process }) {
      process.switchCode({
        writes: [],
        stopTimeout: 5000,
        stacks: { bytes: BYTES, regions: [] },
        inspect(stopped) {
          const { address, length } = stopped.stack(0)
          const sp = Number(stopped.stackPointer(0))
          assert.ok(address <= sp && length > 0 && address + length <= Math.floor(sp / BYTES) * BYTES + BYTES)
          return undefined
        },
      })
    },
  },
  {
    name: 'stacks: more memory can be read in the stop, as far as it is there',
    async run({ process, target }) {
      const regions = process.regions().filter((region) => region.read && region.end < HIGH)
      const last = regions.find((region, index) => (regions[index + 1]?.start ?? 0n) > region.end)
      assert.ok(last)
      look(process, (stopped) => {
        const into = new Uint8Array(0x3000)
        assert.equal(stopped.read(Number(last.end) - 24, into), 24)
        assert.deepEqual(into.subarray(0, 24), process.read(last.end - 24n, 24))
        assert.equal(stopped.read(0x10, into), 0)
        const code = new Uint8Array(8)
        assert.equal(stopped.read(Number(target.symbols.value), code), 8)
        assert.deepEqual(code, process.read(target.symbols.value, 8))
      })
    },
  },
  {
    name: 'catchFirst: a thread is let run until it is out, stays there, and all are stopped then',
    async run({ process, target, control }) {
      await control.setWorkers(2)
      await control.startSpinning()
      let spinner = 0
      const inSpin = (stopped: StoppedThreads, i: number): boolean => {
        const pointer = stopped.instructionPointer(i)
        return pointer >= target.symbols.spin && pointer < target.symbols.spinEnd
      }
      look(process, (stopped) => {
        for (let i = 0; i < stopped.count; i++) if (inSpin(stopped, i)) spinner = stopped.id(i)
      })
      let looks = 0
      let inside = true
      const expected = begunThreads(process).length
      const outcome = process.switchCode({
        writes: [],
        stopTimeout: 5000,
        stacks: { bytes: BYTES, regions: process.regions() },
        catchFirst: {
          threads: [spinner],
          within: 5000,
          hold: 1000,
          isOut(stopped, index) {
            assert.equal(stopped.id(index), spinner)
            // From outside the flag can be taken down at any time: here, when the thread has been seen inside.
            if (++looks === 3) control.set('spin', 0n)
            return !inSpin(stopped, index)
          },
        },
        inspect(stopped) {
          for (let i = 0; i < stopped.count; i++) if (stopped.id(i) === spinner) inside = inSpin(stopped, i)
          return undefined
        },
      })
      assert.ok(looks >= 3)
      assert.equal(inside, false)
      assert.equal(outcome.threads, expected)
      await control.stopSpinning()
    },
  },
  {
    name: 'catchFirst: a thread that does not come out is stopped with the others',
    async run({ process, control, target }) {
      await control.startSpinning()
      const outcome = process.switchCode({
        writes: [],
        stopTimeout: 5000,
        stacks: { bytes: BYTES, regions: process.regions() },
        catchFirst: { threads: process.threads().map(({ id }) => id), within: 60, hold: 60, isOut: () => false },
        inspect: (stopped) => {
          for (let i = 0; i < stopped.count; i++) {
            const pointer = stopped.instructionPointer(i)
            if (pointer >= target.symbols.spin && pointer < target.symbols.spinEnd)
              return { threadId: stopped.id(i), instructionPointer: pointer, guard: 0 }
          }
          return undefined
        },
      })
      assert.equal(outcome.switched, false)
      await control.stopSpinning()
    },
  },
]
