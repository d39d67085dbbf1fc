/**
 * A thread taken through its code one instruction at a time, its stack walked at each. What the walk must find is known without any
 * unwind data: every call that was made and has not returned.
 */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { type FrameModule, type StackMemory, Walker } from '../../src/machine/x64/unwind.ts'
import { PTRACE, UserRegs } from '../../src/os/linux/definitions.ts'
import { libc, pinned } from '../../src/os/linux/libc.ts'
import type { Process } from '../../src/process/contract.ts'
import { dwarfRegisters } from '../../src/process/linux/stacks.ts'
import { awaitStop, lastStatus, pendingSignal, seize, stopSignal, WaitState } from '../../src/process/linux/tracing.ts'

const SINGLESTEP = 9
const SIGTRAP = 5
const RT_SIGRETURN = 15

export interface Stepped {
  readonly steps: number
  readonly calls: number
  readonly signals: number
  /** Addresses at which a walk did not come to the outermost frame, with the code there. */
  readonly lost: readonly { readonly at: string; readonly code: string }[]
  readonly wrong: readonly { readonly at: string; readonly expected: readonly string[]; readonly found: readonly string[] }[]
}

const registers = pinned(UserRegs.size)
const halves = new Uint32Array(registers.bytes.buffer)

/** From the moment that the word at `go` is set until `done` is reached; only the main thread is looked at. */
export function stepThrough(process: Process, modules: readonly FrameModule[], go: bigint, done: bigint): Stepped {
  const apart = shareProcessor(process.pid)
  try {
    return stepOnOneProcessor(process, modules, go, done)
  } finally {
    apart()
  }
}

/**
 * At each step one of the two sleeps until the other is done. On two processors both fall asleep by turns, and where the machine is a virtual one, waking
 * one can take milliseconds. Answers what undoes it for us.
 */
function shareProcessor(tid: number): () => void {
  const allowed = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  const [one = '0'] = allowed.split(/[-,]/)
  const bind = (id: number, processors: string) => execFileSync('taskset', ['-cp', processors, String(id)], { stdio: 'ignore' })
  bind(tid, one)
  bind(globalThis.process.pid, one)
  return () => bind(globalThis.process.pid, allowed)
}

function stepOnOneProcessor(process: Process, modules: readonly FrameModule[], go: bigint, done: bigint): Stepped {
  const tid = process.pid
  seize(tid, tid)
  libc.ptrace(PTRACE.INTERRUPT, tid, 0, 0)
  mustStop(tid)
  const walker = new Walker(modules)
  const memory: StackMemory = {
    word(address) {
      try {
        const bytes = process.read(BigInt(address), 8)
        return Number(new DataView(bytes.buffer).getBigUint64(0, true))
      } catch {
        return Number.NaN
      }
    },
    code(address, into) {
      try {
        into.set(process.read(BigInt(address), into.length))
        return into.length
      } catch {
        return 0
      }
    },
  }
  const look = (): { ip: bigint; rsp: bigint; rax: bigint; frames: bigint[]; end: string } => {
    libc.ptrace(PTRACE.GETREGS, tid, 0, registers.address)
    const { rip, rsp, rax } = UserRegs.readAt(registers.bytes, 0)
    dwarfRegisters(halves, 0, walker.registers)
    const frames: bigint[] = []
    const end = walker.walk(memory, (address) => {
      frames.push(BigInt(address))
      return false
    })
    return { ip: rip, rsp, rax, frames, end }
  }

  const first = look()
  // Of the calls that have not returned, outermost first; a signal leaves what it interrupted, and the way back.
  const pending: bigint[] = first.frames.slice(1).reverse()
  const lost = new Map<string, string>()
  const wrong: { at: string; expected: string[]; found: string[] }[] = []
  const one = new Uint8Array(8)
  one[0] = 1
  process.write(go, one)
  let [steps, calls, signals] = [0, 0, 0]
  let before = first
  let signal = 0
  for (; before.ip !== done && steps < 400_000; steps++) {
    const opcode = process.read(before.ip, 8)
    libc.ptrace(SINGLESTEP, tid, 0, signal)
    const status = mustStop(tid)
    const stopped = stopSignal(status)
    const now = look()
    if (signal !== 0) {
      // The handler's first instruction: the kernel has put the way back on its stack.
      pending.push(before.ip, word(process, now.rsp))
      signals++
    } else if (isCall(opcode) && now.rsp === before.rsp - 8n) {
      pending.push(word(process, now.rsp))
      calls++
    } else if (isReturn(opcode)) pending.pop()
    else if (opcode[0] === 0x0f && opcode[1] === 0x05 && before.rax === BigInt(RT_SIGRETURN)) pending.pop()
    signal = stopped === SIGTRAP ? 0 : pendingSignal(status)
    const expected = [now.ip, ...pending.toReversed()]
    if (now.end !== 'end') lost.set(at(now.ip), Buffer.from(process.read(now.ip, 8)).toString('hex'))
    else if (now.frames.join() !== expected.join() && wrong.length < 5)
      wrong.push({ at: at(now.ip), expected: expected.map(at), found: now.frames.map(at) })
    before = now
  }
  libc.ptrace(PTRACE.DETACH, tid, 0, 0)
  return { steps, calls, signals, lost: [...lost].map(([where, code]) => ({ at: where, code })), wrong }

  function at(address: bigint): string {
    const module = process.modules().find(({ base, size }) => base <= address && address < base + BigInt(size))
    return module === undefined ? `0x${address.toString(16)}` : `${module.name}+0x${(address - module.base).toString(16)}`
  }
}

function mustStop(tid: number): number {
  if (awaitStop(tid, performance.now() + 10_000) !== WaitState.stopped) throw new Error(`thread ${tid} did not stop`)
  return lastStatus()
}

const word = (process: Process, address: bigint): bigint => new DataView(process.read(address, 8).buffer).getBigUint64(0, true)

/** E8, or FF /2 with what prefixes compilers use. */
function isCall(code: Uint8Array): boolean {
  let i = 0
  while (
    code[i] === 0x2e ||
    code[i] === 0x3e ||
    code[i] === 0x66 ||
    code[i] === 0x67 ||
    code[i] === 0xf2 ||
    ((code[i] ?? 0) & 0xf0) === 0x40
  )
    i++
  return code[i] === 0xe8 || (code[i] === 0xff && (((code[i + 1] ?? 0) >> 3) & 7) === 2)
}

const isReturn = (code: Uint8Array): boolean => {
  const i = code[0] === 0xf3 || code[0] === 0xf2 ? 1 : 0
  return code[i] === 0xc3 || code[i] === 0xc2
}
