/** What only Windows has, as cases like those of the conformance suite. */
import assert from 'node:assert/strict'
import { u64 } from '../../binary/struct.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { nt } from '../../os/windows/ntdll.ts'
import type { CallArgument, Process } from '../contract.ts'
import { WindowsProcess } from '../windows/process.ts'
import { callRemote, ntdllFunction } from '../windows/remote-call.ts'
import type { Target } from '../windows/target.ts'
import { begunThreads, type ConformanceCase, throwsCode } from './case.ts'
import { MACHINE, TARGET_TEXT, VALUE_NEW, VALUE_OLD } from './target.ts'

const PAGE = 0x1000
const NAME = 'hotpatch:windows-case'
/** Windows on ARM64 is run where the processor is emulated: a new thread takes a fifth of a second there, and so does stopping one. */
const [MANY, ROUNDS, STOP_MS] = MACHINE === 'arm64' ? [100, 10, 60_000] : [300, 40, 20_000]
/** winbase.h, winternl.h */
const CREATE_SUSPENDED = 4
const ProcessHandleCount = 20

function targetOf(process: Process): Target {
  assert.ok(process instanceof WindowsProcess)
  return process.target
}

const call = (process: Process, name: string, ...args: CallArgument[]): bigint => {
  const target = targetOf(process)
  return callRemote(target, ntdllFunction(target, name), args, { deadlineMs: 5_000 })
}

function placeFor(process: Process, size: number): bigint {
  const place = process.findPlace({ size, near: 0x1_4000_0000n, low: 0n, high: 1n << 47n })
  assert.ok(place !== undefined)
  return place
}

const ownHandles = (): number => {
  const count = Buffer.alloc(4)
  assert.equal(nt.NtQueryInformationProcess(0xffff_ffff_ffff_ffffn, ProcessHandleCount, count, 4, null), 0)
  return count.readUInt32LE(0)
}

const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer)

/** A function with a frame, and its records from RVA 0x1000 on. */
const FRAME =
  MACHINE === 'arm64'
    ? {
        // stp x29, x30, [sp, #-16]!; mov x29, sp; nop; ldp x29, x30, [sp], #16; ret
        code: words(0xa9bf7bfd, 0x910003fd, 0xd503201f, 0xa8c17bfd, 0xd65f03c0),
        /** Packed: flag 1, 5 instructions, CR 3 (x29 and x30 are chained), a frame of 16 bytes. */
        records: words(0, 1 | (5 << 2) | (3 << 21) | (1 << 23)),
      }
    : {
        // sub rsp, 0x28; nop; add rsp, 0x28; ret
        code: Uint8Array.of(0x48, 0x83, 0xec, 0x28, 0x90, 0x48, 0x83, 0xc4, 0x28, 0xc3),
        /** RUNTIME_FUNCTION { 0, 10, 0x1010 }, then at 0x10 UNWIND_INFO: version 1, prologue 4, one code: UWOP_ALLOC_SMALL, (4 + 1) * 8. */
        records: Uint8Array.of(0, 0, 0, 0, 10, 0, 0, 0, 0x10, 0x10, 0, 0, 0, 0, 0, 0, 1, 4, 1, 0, 4, 0x42, 0, 0),
      }

const CALLING: readonly ConformanceCase[] = [
  {
    name: 'a call inside the target gets its arguments and gives its result; nothing of it stays mapped',
    async run({ process, target, control }) {
      await control.setWorkers(3)
      const { text } = target.symbols
      // The first thread that ends leaves what Windows keeps for the next one.
      call(process, 'strlen', text)
      const regions = process.regions().length
      for (let round = 0; round < 5; round++) {
        assert.equal(call(process, 'strlen', text), BigInt(TARGET_TEXT.length))
        assert.equal(call(process, 'RtlCompareMemory', text, text + 1n, 8n), 0n)
        assert.equal(call(process, 'RtlCompareMemory', text, text, 8n), 8n)
      }
      assert.ok(process.regions().every((region) => !region.name.includes('hotpatch:')))
      assert.ok(process.regions().length <= regions + 4, `${process.regions().length - regions} regions are left behind`)
    },
  },
  {
    name: 'a call hands over eight arguments',
    async run({ process }) {
      const format = Buffer.from('%d %d %d %d %d\0')
      const into = new Uint8Array(64)
      assert.equal(call(process, '_snprintf', into, 64n, format, 1n, 22n, 333n, 4444n, 55555n) & 0xffff_ffffn, 19n)
      assert.equal(call(process, '_snprintf', into, 64n, format, 55555n, 4444n, 333n, 22n, 333_333n) & 0xffff_ffffn, 24n)
    },
  },
  {
    name: 'a call that does not return in time is CALL_TIMEOUT; its memory stays, since it may still come back',
    async run({ process, control }) {
      const target = targetOf(process)
      const forever = ntdllFunction(target, 'NtWaitForSingleObject')
      const currentProcess = -1n
      throwsCode('CALL_TIMEOUT', () => callRemote(target, forever, [currentProcess, 0n, 0n], { deadlineMs: 100 }))
      assert.equal(process.regions().filter((region) => region.execute && region.name === 'hotpatch:call').length, 1)
      await control.setWorkers(2)
    },
  },
  {
    name: "registerUnwind: the target's own unwinder finds the function, and not any more when it is taken back",
    async run({ process, target }) {
      const base = placeFor(process, 2 * PAGE)
      process.map({
        address: base,
        name: NAME,
        segments: [
          { offset: 0, size: PAGE, protection: 'rx', content: FRAME.code },
          { offset: PAGE, size: PAGE, protection: 'r', content: FRAME.records },
        ],
      })
      const pdata = base + BigInt(PAGE)
      const lookup = () => call(process, 'RtlLookupFunctionEntry', base + 4n, target.symbols.data, 0n)
      assert.equal(lookup(), 0n)
      const registration = process.registerUnwind({ kind: 'pdata', address: pdata, count: 1, imageBase: base })
      assert.deepEqual(registration, { kind: 'pdata', address: pdata })
      assert.equal(lookup(), pdata)
      const found = process.read(target.symbols.data, 8)
      assert.equal(u64.read(new DataView(found.buffer, found.byteOffset), 0), base, 'the image base')
      process.unregisterUnwind(registration)
      assert.equal(lookup(), 0n)
      throwsCode('DEFECT', () => process.unregisterUnwind(registration))
      process.unmap(base, 2 * PAGE)
    },
  },
  {
    name: 'registerUnwind: records of ELF are nothing that Windows could be told',
    async run({ process }) {
      assert.equal(process.registerUnwind({ kind: 'eh_frame', address: 0x1000n, size: 8 }), undefined)
    },
  },
]

const STOPPING: readonly ConformanceCase[] = [
  {
    name: 'switchCode: a thread that the target holds suspended stays so, with the count it had',
    async run({ process, target, control }) {
      const handle = win32.CreateRemoteThread(
        targetOf(process).change(),
        null,
        0,
        ntdllFunction(targetOf(process), 'RtlExitUserThread'),
        0n,
        CREATE_SUSPENDED,
        null,
      )
      assert.notEqual(handle, 0)
      for (let round = 0; round < 3; round++) {
        const bytes = round % 2 === 0 ? VALUE_NEW : VALUE_OLD
        process.switchCode({ writes: [{ address: target.symbols.value, bytes }], inspect: () => undefined, stopTimeout: 5000 })
      }
      assert.equal(win32.ResumeThread(handle), 1, 'the suspend count')
      win32.CloseHandle(handle)
      await control.setWorkers(1)
    },
  },
  {
    name: 'switchCode: every thread is stopped although threads come and go',
    async run({ process, target, control }) {
      for (let round = 0; round < ROUNDS; round++) {
        control.set('wanted', round % 2 === 0 ? 60n : 3n)
        const outcome = process.switchCode({
          writes: [{ address: target.symbols.value, bytes: round % 2 === 0 ? VALUE_NEW : VALUE_OLD }],
          inspect(stopped) {
            // What runs on would be seen to count.
            const before = control.get('old') + control.get('new')
            for (let i = 0; i < 20; i++) assert.equal(control.get('old') + control.get('new'), before, 'a thread runs on')
            assert.equal(new Set(Array.from({ length: stopped.count }, (_, i) => stopped.id(i))).size, stopped.count)
            return undefined
          },
          stopTimeout: STOP_MS,
        })
        assert.equal(outcome.switched, true)
      }
      assert.equal(control.get('bad'), 0n)
    },
  },
  {
    name: 'switchCode: many more threads than before',
    async run({ process, target, control }) {
      await control.setWorkers(MANY)
      const outcome = process.switchCode({
        writes: [{ address: target.symbols.value, bytes: VALUE_NEW }],
        inspect: () => undefined,
        stopTimeout: STOP_MS,
      })
      assert.ok(outcome.threads >= MANY + 2)
      await control.grows('new')
    },
  },
  {
    name: 'switchCode and write leave no page writable and executable, and no handle open',
    async run({ process, target, control }) {
      await control.setWorkers(4)
      const open = () => process.regions().filter((region) => region.write && region.execute)
      const before = open()
      const writes = [
        { address: target.symbols.value, bytes: VALUE_NEW },
        { address: target.symbols.value, bytes: VALUE_NEW.subarray(0, 2) },
        { address: target.symbols.text, bytes: Buffer.from('HOT') },
      ]
      const round = () => {
        process.switchCode({ writes, inspect: () => undefined, stopTimeout: 5000 })
        process.switchCode({ writes, inspect: () => ({ threadId: 1, instructionPointer: 0n, guard: 0 }), stopTimeout: 5000 })
        process.write(target.symbols.value, VALUE_NEW)
        process.threads()
        process.modules()
      }
      round()
      const handles = ownHandles()
      for (let i = 0; i < 10; i++) round()
      assert.ok(ownHandles() <= handles + 2, `${ownHandles() - handles} handles are left open`)
      assert.deepEqual(open(), before)
    },
  },
]

const LOOKING: readonly ConformanceCase[] = [
  {
    name: 'opening a process of the kernel is PROCESS_UNSUPPORTED',
    async run({ host }) {
      for (const pid of [0, 4]) throwsCode('PROCESS_UNSUPPORTED', () => host.backend.open(pid))
    },
  },
  {
    name: 'threads: each with its TEB, in which its own number and address stand',
    async run({ process, control }) {
      await control.setWorkers(3)
      const threads = begunThreads(process)
      assert.ok(threads.length >= 4)
      for (const { id, teb = 0n } of threads) {
        const [self, thread] = [0x30n, 0x48n].map((offset) => Buffer.from(process.read(teb + offset, 8)).readBigUInt64LE())
        assert.deepEqual([self, thread], [teb, BigInt(id)])
      }
    },
  },
  {
    name: 'regions: images and their file names, with drive letters',
    async run({ process, target }) {
      const regions = process.regions()
      const named = regions.find((region) => region.start <= target.symbols.value && target.symbols.value < region.end)
      assert.match(named?.name ?? '', /^[A-Z]:\\.*conformance\.exe$/)
    },
  },
  {
    name: 'findPlace: never where something is reserved only',
    async run({ process }) {
      const place = placeFor(process, PAGE)
      const handle = targetOf(process).change()
      const MEM_RESERVE = 0x2000
      const PAGE_NOACCESS = 1
      // What was found is room for this much; the 64 KB that it takes may be cut short by a neighbour.
      assert.equal(BigInt(win32.VirtualAllocEx(handle, place, PAGE, MEM_RESERVE, PAGE_NOACCESS)), place)
      assert.notEqual(placeFor(process, PAGE), place)
      assert.equal(process.findPlace({ size: PAGE, near: place, low: place, high: place + 0x10000n }), undefined)
      throwsCode('MEMORY_UNREADABLE', () => process.read(place, 1))
      throwsCode('MEMORY_UNWRITABLE', () => process.write(place, Uint8Array.of(1)))
    },
  },
  {
    name: 'unmap: what is not the start of a mapping of ours is refused',
    async run({ process, target }) {
      throwsCode('DEFECT', () => process.unmap(target.symbols.value & ~0xfffn, PAGE))
      throwsCode('DEFECT', () => process.unmap(placeFor(process, PAGE), PAGE))
    },
  },
]

export const WINDOWS_CASES: readonly ConformanceCase[] = [...LOOKING, ...CALLING, ...STOPPING]
