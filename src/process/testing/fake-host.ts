/** The conformance target acted out by a FakeTarget: a little of what test/targets/conformance.c does, at every `settle`. */
import { HotpatchError } from '../../errors.ts'
import type { CallArgument } from '../contract.ts'
import { EngineKilled, FakeProcess, FakeTarget, fakeBackend } from '../fake/index.ts'
import { CALLED } from './call-cases.ts'
import {
  CONTROL_FIELDS,
  type ConformanceHost,
  type ControlField,
  type StartedTarget,
  TARGET_DATA,
  TARGET_TEXT,
  VALUE_OLD,
} from './target.ts'

const BASE = 0x5555_0000_0000n
const SYMBOLS = {
  text: BASE + 0x100n,
  value: BASE + 0x1010n,
  spin: BASE + 0x1020n,
  spinEnd: BASE + 0x1030n,
  control: BASE + 0x2000n,
  data: BASE + 0x2100n,
}

function at(offset: number, ...bytes: readonly number[]): Uint8Array {
  const content = new Uint8Array(offset + bytes.length)
  content.set(bytes, offset)
  return content
}

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  return bytes
}

export function fakeHost(): ConformanceHost {
  const targets: FakeTarget[] = []
  let pid = 100
  return {
    backend: fakeBackend(targets),
    showsNames: true,
    isAttached: () => false,
    async startEngine(pid) {
      const target = targets.find((candidate) => candidate.pid === pid)
      if (target === undefined) throw new Error(`there is no target ${pid}`)
      const engine = new FakeProcess(target)
      engine.lock()
      return { kill: async () => engine.kill(new EngineKilled(0)) }
    },
    async start() {
      const target = makeTarget(++pid)
      targets.push(target)
      return actOut(target)
    },
  }
}

function makeTarget(pid: number): FakeTarget {
  const header = new Uint8Array(0x200)
  header.set([0x7f, 0x45, 0x4c, 0x46])
  header.set(Buffer.from(TARGET_TEXT), 0x100)
  const target = new FakeTarget({
    pid,
    name: 'conformance',
    modules: [
      {
        path: '/opt/conformance',
        base: BASE,
        format: 'elf',
        segments: [
          { offset: 0, size: 0x1000, protection: 'r', content: header },
          { offset: 0x1000, size: 0x1000, protection: 'rx', content: at(0x10, ...VALUE_OLD) },
          { offset: 0x2000, size: 0x1000, protection: 'rw', content: at(0x100, ...u64(TARGET_DATA)) },
        ],
      },
    ],
    threads: [],
  })
  target.onCall = actOutCall
  target.addMapping(0x7ffe_0000_0000n, 0x100000, 'rw', new Uint8Array(), '[stack]')
  target.threads = [thread(pid, 0)]
  return target
}

/** What the functions of call-cases.ts and the target's own would do. */
function actOutCall(address: bigint, args: readonly CallArgument[], target: FakeTarget): bigint {
  const code = Buffer.from(target.peek(address, 16) ?? [])
  const isAt = (bytes: Uint8Array) => code.subarray(0, bytes.length).equals(bytes)
  if (isAt(VALUE_OLD)) return 1n
  if (isAt(CALLED.sum.elf)) {
    const [bytes = 0n, ...others] = args
    const first = typeof bytes === 'bigint' ? bytes : new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true)
    return BigInt.asUintN(
      64,
      others.reduce<bigint>((sum, arg) => sum + (typeof arg === 'bigint' ? arg : 0n), first),
    )
  }
  if (isAt(CALLED.slow.elf)) {
    target.addMapping(0x1_0000_0000n, 0x2000, 'rw', new Uint8Array(), 'hotpatch:call')
    throw new HotpatchError('CALL_TIMEOUT', 'the loop is slow')
  }
  throw new HotpatchError('CALL_FAULTED', 'there is no such function')
}

const thread = (id: number, index: number) => ({
  id,
  name: `worker-${index}`,
  instructionPointer: BASE + 0x1800n,
  stackPointer: 0x7ffe_0000_0000n + BigInt(0x1000 * (index + 1)),
})

function actOut(target: FakeTarget): StartedTarget {
  const address = (field: ControlField) => SYMBOLS.control + BigInt(8 * CONTROL_FIELDS.indexOf(field))
  const get = (field: ControlField): bigint => {
    const bytes = target.peek(address(field), 8) as Uint8Array
    return new DataView(bytes.buffer).getBigUint64(0, true)
  }
  const set = (field: ControlField, value: bigint) => target.poke(address(field), u64(value))
  const act = (): void => {
    const workers = Number(get('wanted'))
    target.threads = Array.from({ length: workers + 1 }, (_, index) => thread(target.pid + index, index))
    set('running', BigInt(workers))
    set('spinning', get('spin'))
    const spinner = target.threads[0]
    if (spinner && get('spin') !== 0n) spinner.instructionPointer = SYMBOLS.spin + 2n
    const result = (target.peek(SYMBOLS.value, 8) as Uint8Array)[1]
    const field = result === 1 ? 'old' : result === 2 ? 'new' : 'bad'
    set(field, get(field) + BigInt(workers))
  }
  target.onResume = act
  return { pid: target.pid, moduleName: 'conformance', symbols: SYMBOLS, settle: async () => act(), kill: async () => target.exit() }
}
