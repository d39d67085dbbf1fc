/**
 * What every backend must do, as named cases. Framework-free, since the Windows backend runs it inside Windows' own Node: a test
 * file makes one test of each case.
 */
import assert from 'node:assert/strict'
import type { SwitchRequest } from '../contract.ts'
import { CALL_CASES } from './call-cases.ts'
import { begunThreads, type ConformanceCase, throwsCode, untilThrown } from './case.ts'
import { LOCK_CASES } from './lock-cases.ts'
import { MAPPING_CASES } from './mapping-cases.ts'
import { SEARCH_CASES } from './search-cases.ts'
import { STACK_CASES } from './stack-cases.ts'
import type { ConformanceHost, StartedTarget } from './target.ts'
import { MACHINE, TARGET_DATA, TARGET_TEXT, TargetControl, VALUE_NEW, VALUE_OLD } from './target.ts'

/** Starts a target, runs the case, checks that the target is unharmed (unless the case ended it) and that nothing is left at it. */
export async function runCase(conformanceCase: ConformanceCase, host: ConformanceHost): Promise<void> {
  const target = await host.start()
  try {
    const process = host.backend.open(target.pid)
    const control = new TargetControl(target, process)
    await conformanceCase.run({ host, target, process, control })
    if (isListed(host, target.pid)) {
      await control.setWorkers(2)
      const field = Buffer.compare(process.read(target.symbols.value, 8), VALUE_NEW) === 0 ? 'new' : 'old'
      await control.grows(field)
      assert.equal(control.get('bad'), 0n, 'calls with a torn result')
      process.close()
      await control.isLetGo(() => host.isAttached(target.pid))
    } else process.close()
  } finally {
    await target.kill()
  }
}

const isListed = (host: ConformanceHost, pid: number): boolean => host.backend.list().some((summary) => summary.pid === pid)

/** Below it, as far as memory of the program's own lies: what is above belongs to the system. */
const HIGH = MACHINE === 'arm64' ? 0xffff_0000_0000n : 0x7fff_0000_0000n

const switchTo = (target: StartedTarget, bytes: Uint8Array, inspect: SwitchRequest['inspect'] = () => undefined): SwitchRequest => ({
  writes: [{ address: target.symbols.value, bytes }],
  inspect,
  stopTimeout: 5000,
})

const LOOKING: readonly ConformanceCase[] = [
  {
    name: 'list shows the process',
    async run({ host, target, process }) {
      const found = host.backend.list().find((summary) => summary.pid === target.pid)
      assert.ok(found, `process ${target.pid} is not in the list`)
      assert.equal(found.name, process.name)
    },
  },
  {
    name: 'opening a process that does not exist is PROCESS_GONE',
    async run({ host }) {
      throwsCode('PROCESS_GONE', () => host.backend.open(0x3ffffffc))
    },
  },
  {
    name: 'opening changes and attaches nothing',
    async run({ host, target, process }) {
      assert.equal(process.pid, target.pid)
      assert.equal(process.machine, MACHINE)
      assert.ok(process.name.length > 0)
      assert.ok(process.incarnation.length > 0)
      assert.equal(host.isAttached(target.pid), false)
    },
  },
  {
    name: 'the incarnation of a process stays the same, that of another differs',
    async run({ host, target, process }) {
      const again = host.backend.open(target.pid)
      assert.equal(again.incarnation, process.incarnation)
      again.close()
    },
  },
  {
    name: 'modules: the main program first, its base and size cover its symbols',
    async run({ target, process }) {
      const modules = process.modules()
      const main = modules[0]
      assert.ok(main)
      assert.equal(main.name, target.moduleName)
      assert.ok(main.path.endsWith(target.moduleName))
      assert.equal(main.deleted, false)
      for (const address of Object.values(target.symbols))
        assert.ok(address >= main.base && address < main.base + BigInt(main.size), `0x${address.toString(16)} is not inside the program`)
      const magic = process.read(main.base, 4)
      assert.deepEqual([...magic.subarray(0, main.format === 'pe' ? 2 : 4)], main.format === 'pe' ? [0x4d, 0x5a] : [0x7f, 0x45, 0x4c, 0x46])
      assert.equal(new Set(modules.map((module) => module.base)).size, modules.length, 'a module is listed twice')
    },
  },
  {
    name: 'regions: ascending, not overlapping, with the right protections',
    async run({ target, process }) {
      const regions = process.regions()
      for (const [index, region] of regions.entries()) {
        assert.ok(region.start < region.end)
        const next = regions[index + 1]
        if (next) assert.ok(region.end <= next.start, 'regions overlap or are out of order')
      }
      const at = (address: bigint) => {
        const region = regions.find((candidate) => candidate.start <= address && address < candidate.end)
        assert.ok(region, `0x${address.toString(16)} is in no region`)
        return { read: region.read, write: region.write, execute: region.execute }
      }
      assert.deepEqual(at(target.symbols.value), { read: true, write: false, execute: true })
      assert.deepEqual(at(target.symbols.text), { read: true, write: false, execute: false })
      assert.deepEqual(at(target.symbols.data), { read: true, write: true, execute: false })
    },
  },
  {
    name: 'threads: each once, with the main thread, as many more as were made',
    async run({ process, control }) {
      const before = process.threads()
      assert.ok(before.length >= 1)
      await control.setWorkers(5)
      const after = process.threads()
      assert.equal(after.length, before.length + 5)
      assert.equal(new Set(after.map((thread) => thread.id)).size, after.length)
    },
  },
]

const MEMORY: readonly ConformanceCase[] = [
  {
    name: 'read: data, read-only data and code',
    async run({ target, process }) {
      const data = process.read(target.symbols.data, 8)
      assert.equal(new DataView(data.buffer, data.byteOffset).getBigUint64(0, true), TARGET_DATA)
      assert.equal(Buffer.from(process.read(target.symbols.text, TARGET_TEXT.length)).toString('latin1'), TARGET_TEXT)
      assert.deepEqual(process.read(target.symbols.value, 8), VALUE_OLD)
      assert.equal(process.read(target.symbols.value, 0).length, 0)
    },
  },
  {
    name: 'read: what is not mapped is MEMORY_UNREADABLE, also when only the end is not',
    async run({ process }) {
      throwsCode('MEMORY_UNREADABLE', () => process.read(0x10n, 8))
      const regions = process.regions().filter((region) => region.read && region.end < HIGH)
      const last = regions.find((region, index) => (regions[index + 1]?.start ?? 0n) > region.end)
      assert.ok(last)
      const error = throwsCode('MEMORY_UNREADABLE', () => process.read(last.end - 8n, 0x2000))
      assert.match(error.detail, /0x[0-9a-f]+/)
    },
  },
  {
    name: 'write: every length into data, neighbours untouched',
    async run({ target, process }) {
      for (const length of [1, 2, 3, 4, 5, 7, 8]) {
        process.write(target.symbols.data, new Uint8Array(8).fill(0x11))
        process.write(target.symbols.data, new Uint8Array(length).fill(0xab))
        const expected = new Uint8Array(8).fill(0x11)
        expected.fill(0xab, 0, length)
        assert.deepEqual(process.read(target.symbols.data, 8), expected)
      }
    },
  },
  {
    name: 'write: into code and read-only data, which stay as protected as they were',
    async run({ target, process, control }) {
      await control.setWorkers(4)
      const before = process.regions().filter((region) => region.start <= target.symbols.value && target.symbols.value < region.end)
      await control.grows('old')
      process.write(target.symbols.value, VALUE_NEW)
      await control.grows('new')
      process.write(target.symbols.text, Buffer.from('HOT'))
      assert.equal(Buffer.from(process.read(target.symbols.text, 8)).toString('latin1'), 'HOTpatch')
      const after = process.regions().filter((region) => region.start <= target.symbols.value && target.symbols.value < region.end)
      const protections = (regions: typeof before) => regions.map(({ read, write, execute }) => [read, write, execute])
      assert.deepEqual(protections(after), protections(before))
    },
  },
  {
    name: 'write: what is not mapped is MEMORY_UNWRITABLE',
    async run({ process }) {
      throwsCode('MEMORY_UNWRITABLE', () => process.write(0x10n, Uint8Array.of(1)))
    },
  },
  {
    name: 'write: a process that has ended is PROCESS_GONE, so are reading and mapping',
    async run({ target, process }) {
      await target.kill()
      // Memory outlives its process for the moment in which the system takes it down.
      await untilThrown(() => process.write(target.symbols.data, new Uint8Array(8)))
      throwsCode('PROCESS_GONE', () => process.read(target.symbols.data, 8))
      throwsCode('PROCESS_GONE', () => process.write(target.symbols.data, new Uint8Array(8)))
      throwsCode('PROCESS_GONE', () => process.switchCode(switchTo(target, VALUE_NEW)))
      const segments = [{ offset: 0, size: 0x1000, protection: 'r', content: new Uint8Array(1) }] as const
      throwsCode('PROCESS_GONE', () => process.map({ address: 0x3_0000_0000n, name: 'hotpatch:gone', segments }))
    },
  },
]

const SWITCHING: readonly ConformanceCase[] = [
  ...[0, 4, 24].map(
    (workers): ConformanceCase => ({
      name: `switchCode: switches and switches back with ${workers} workers`,
      async run({ target, process, control }) {
        await control.setWorkers(workers)
        for (const [bytes, field] of [
          [VALUE_NEW, 'new'],
          [VALUE_OLD, 'old'],
        ] as const) {
          const threads = begunThreads(process).length
          const outcome = process.switchCode(switchTo(target, bytes))
          assert.equal(outcome.switched, true)
          assert.equal(outcome.threads, threads)
          assert.ok(outcome.stoppedMicroseconds > 0 && outcome.stoppedMicroseconds < 5_000_000)
          assert.deepEqual(process.read(target.symbols.value, 8), bytes)
          if (workers > 0) await control.grows(field)
        }
      },
    }),
  ),
  {
    name: 'switchCode: every thread is shown stopped, once, with plausible pointers',
    async run({ process, target, control }) {
      await control.setWorkers(3)
      await control.startSpinning()
      const expected = begunThreads(process).map((thread) => thread.id)
      const seen: { id: number; ip: bigint; sp: bigint }[] = []
      process.switchCode({
        writes: [],
        stopTimeout: 5000,
        inspect(stopped) {
          for (let i = 0; i < stopped.count; i++)
            seen.push({ id: stopped.id(i), ip: stopped.instructionPointer(i), sp: stopped.stackPointer(i) })
          return undefined
        },
      })
      assert.deepEqual(seen.map((thread) => thread.id).sort(), expected.sort())
      const regions = process.regions()
      const within = (address: bigint) => regions.find((region) => region.start <= address && address < region.end)
      for (const thread of seen) {
        assert.ok(within(thread.ip)?.execute, `thread ${thread.id} runs at 0x${thread.ip.toString(16)}, which is not executable`)
        assert.ok(within(thread.sp)?.write, `the stack of thread ${thread.id}, 0x${thread.sp.toString(16)}, is not writable`)
      }
      const inSpin = seen.filter((thread) => thread.ip >= target.symbols.spin && thread.ip < target.symbols.spinEnd)
      assert.equal(inSpin.length, 1, 'exactly one thread is inside the function that spins')
      await control.stopSpinning()
    },
  },
  {
    name: 'switchCode: a blocker prevents every write and is handed back',
    async run({ process, target, control }) {
      await control.setWorkers(2)
      await control.startSpinning()
      const outcome = process.switchCode(
        switchTo(target, VALUE_NEW, (stopped) => {
          for (let i = 0; i < stopped.count; i++) {
            const instructionPointer = stopped.instructionPointer(i)
            if (instructionPointer >= target.symbols.spin && instructionPointer < target.symbols.spinEnd)
              return { threadId: stopped.id(i), instructionPointer, guard: 7 }
          }
          return undefined
        }),
      )
      assert.ok(!outcome.switched)
      assert.equal(outcome.blocker.guard, 7)
      assert.ok(process.threads().some((thread) => thread.id === outcome.blocker.threadId))
      assert.deepEqual(process.read(target.symbols.value, 8), VALUE_OLD)
      await control.grows('old')
      await control.stopSpinning()
    },
  },
  {
    name: 'switchCode: what inspect throws is thrown on, and the target goes on',
    async run({ process, target, control }) {
      await control.setWorkers(2)
      const thrown = new Error('from inspect')
      assert.throws(
        () =>
          process.switchCode(
            switchTo(target, VALUE_NEW, () => {
              throw thrown
            }),
          ),
        (error) => error === thrown,
      )
      assert.deepEqual(process.read(target.symbols.value, 8), VALUE_OLD)
      await control.grows('old')
    },
  },
  {
    name: 'switchCode: memory can be read during inspect',
    async run({ process, target }) {
      let seen: Uint8Array | undefined
      process.switchCode(
        switchTo(target, VALUE_OLD, () => {
          seen = process.read(target.symbols.data, 8)
          return undefined
        }),
      )
      assert.ok(seen)
      assert.equal(new DataView(seen.buffer, seen.byteOffset).getBigUint64(0, true), TARGET_DATA)
    },
  },
  {
    name: 'switchCode: writes that cannot be done take back those that were',
    async run({ process, target, control }) {
      await control.setWorkers(2)
      throwsCode('MEMORY_UNWRITABLE', () =>
        process.switchCode({
          writes: [
            { address: target.symbols.data, bytes: new Uint8Array(8) },
            { address: target.symbols.value, bytes: VALUE_NEW },
            { address: 0x10n, bytes: Uint8Array.of(1) },
          ],
          inspect: () => undefined,
          stopTimeout: 5000,
        }),
      )
      const data = process.read(target.symbols.data, 8)
      assert.equal(new DataView(data.buffer, data.byteOffset).getBigUint64(0, true), TARGET_DATA)
      assert.deepEqual(process.read(target.symbols.value, 8), VALUE_OLD)
      await control.grows('old')
    },
  },
  {
    name: 'switchCode: a hundred times in a row, no call is lost or torn',
    async run({ process, target, control }) {
      await control.setWorkers(3)
      for (let round = 0; round < 100; round++) {
        const outcome = process.switchCode(switchTo(target, round % 2 === 0 ? VALUE_NEW : VALUE_OLD))
        assert.equal(outcome.switched, true)
        if (round % 10 === 0) await control.grows(round % 2 === 0 ? 'new' : 'old', 1n)
      }
      assert.equal(control.get('bad'), 0n)
    },
  },
  {
    name: 'switchCode: a target that ends between two switches is PROCESS_GONE',
    async run({ process, target, control }) {
      await control.setWorkers(2)
      assert.equal(process.switchCode(switchTo(target, VALUE_NEW)).switched, true)
      await target.kill()
      throwsCode('PROCESS_GONE', () => process.switchCode(switchTo(target, VALUE_OLD)))
    },
  },
  {
    name: 'close: the handle is let go, a second close does nothing, another handle works on',
    async run({ host, process, target }) {
      const other = host.backend.open(target.pid)
      assert.equal(other.switchCode(switchTo(target, VALUE_OLD)).switched, true)
      other.close()
      other.close()
      assert.equal(host.isAttached(target.pid), false)
      assert.deepEqual(process.read(target.symbols.value, 8), VALUE_OLD)
    },
  },
]

export const CONFORMANCE_CASES: readonly ConformanceCase[] = [
  ...LOOKING,
  ...MEMORY,
  ...MAPPING_CASES,
  ...SWITCHING,
  ...STACK_CASES,
  ...LOCK_CASES,
  ...CALL_CASES,
  ...SEARCH_CASES,
]
