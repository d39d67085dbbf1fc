/** Threads on x86-64. */
import { HotpatchError } from '../../../errors.ts'
import { ERRNO, NT, PTRACE, USER_CS, UserRegs } from '../../../os/linux/definitions.ts'
import { errno, errnoName, libc, pinned } from '../../../os/linux/libc.ts'
import { SYS } from '../../../os/linux/syscalls.ts'
import type { CallRequest, LinuxMachine, RegisterFile, ThreadState } from '../machine.ts'
import { parseStatus, readProc } from '../proc.ts'
import { readRegisterSet, writeRegisterSet } from '../register-sets.ts'
import { readSignalMask } from '../signal-mask.ts'
import { isBrokenByStops, keepWaiting } from './restart.ts'
import { withOwnCall } from './restarted.ts'
import { frameSize, makeFrame, RED_ZONE, type Registers, restartingCall, type SavedThread } from './sigframe.ts'

interface State extends ThreadState, SavedThread {
  /** What it goes on with when its frame is returned from, the engine being gone. */
  readonly wayBack: Registers
}

const TRAP_AND_DIRECTION = 0x500n
const NO_CALL = 0xffff_ffff_ffff_ffffn
const RESTART_BLOCK = BigInt.asUintN(64, -BigInt(ERRNO.ERESTART_RESTARTBLOCK))

/** By DWARF's numbers (System V ABI for x86-64, figure 3.36). */
const DWARF = ['rax', 'rdx', 'rcx', 'rbx', 'rsi', 'rdi', 'rbp', 'rsp', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip'] as const
const FS_BASE = UserRegs.offsets.fs_base / 8

const registers: RegisterFile = {
  words: UserRegs.size / 8,
  instructionPointer: UserRegs.offsets.rip / 8,
  stackPointer: UserRegs.offsets.rsp / 8,
  dwarf: DWARF.map((name) => UserRegs.offsets[name] / 8),
  fetch: (tid, address) => libc.ptrace(PTRACE.GETREGS, tid, 0, address) === 0,
  threadPointer: (_, words, at) => Number(words[at + FS_BASE]),
  noteWaiting: () => {},
  keepWaiting,
}

export const x64: LinuxMachine = {
  registers,
  code: {
    // syscall
    syscall: Uint8Array.of(0x0f, 0x05),
    // syscall; ret
    syscallReturn: Uint8Array.of(0x0f, 0x05, 0xc3),
    // rt_sigreturn: mov $15,%rax (the C libraries) or mov $15,%eax (Go, Rust); syscall
    restorers: [Uint8Array.of(0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05), Uint8Array.of(0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05)],
    alignment: 1,
  },
  redZone: RED_ZONE,
  hasShadowStack: (pid) => (parseStatus(readProc(`/proc/${pid}/status`) ?? '').get('x86_Thread_features') ?? '').includes('shstk'),

  readThread(tid, memory): State | string | undefined {
    const found = readRegisters(tid)
    if (found === undefined) return undefined
    if (found.cs !== USER_CS) return 'runs 32-bit code'
    const xstate = readExtendedState(tid)
    const waits = BigInt.asIntN(64, found.orig_rax) >= 0n && restartingCall(found) !== found
    return {
      instructionPointer: found.rip,
      stackPointer: found.rsp,
      threadPointer: found.fs_base,
      returnAddress: 0n,
      waitsIn: waits ? { number: found.orig_rax, firstArgument: found.rdi } : undefined,
      signalMask: readSignalMask(tid),
      frameSize: frameSize(xstate),
      registers: found,
      wayBack: withOwnCall(found, memory),
      xstate,
    }
  },

  makeFrame(state, top, restorer) {
    const { xstate, signalMask, wayBack } = state as State
    return makeFrame({ xstate, signalMask, registers: wayBack }, top, restorer)
  },

  setUpSyscall(tid, state, number, { at, stackPointer, args }) {
    const [rdi = 0n, rsi = 0n, rdx = 0n, r10 = 0n, r8 = 0n, r9 = 0n] = args
    const call = { rax: BigInt(number), rdi, rsi, rdx, r10, r8, r9 }
    return setUp(tid, state as State, at, stackPointer, call)
  },

  setUpFunction(tid, state, { at, stackPointer, args }: CallRequest) {
    const [rdi = 0n, rsi = 0n] = args
    return setUp(tid, state as State, at, stackPointer, { rax: 0n, rdi, rsi })
  },

  result(tid) {
    const found = readRegisters(tid)
    return found === undefined ? undefined : BigInt.asIntN(64, found.rax)
  },

  isComingBack(tid, frame) {
    const found = readRegisters(tid)
    return found?.orig_rax === BigInt(SYS.rt_sigreturn) && found.rsp === frame.stackPointer + 8n
  },

  giveBack: (tid, state) => writeRegisters(tid, asItWas((state as State).registers)),

  giveBackAfterReturn(tid, state) {
    const before = (state as State).registers
    if (before.rax !== RESTART_BLOCK) return writeRegisters(tid, asItWas(before))
    // Such a call is begun anew.
    return writeRegisters(tid, { ...restartingCall(before), orig_rax: NO_CALL })
  },

  // Exactly the length that was read: any other is refused (EFAULT) on processors with AMX.
  giveBackVectors: (tid, state) => void writeRegisterSet(tid, NT.X86_XSTATE, (state as State).xstate),

  letGoUnused(tid) {
    const found = readRegisters(tid)
    if (found !== undefined && isBrokenByStops(found)) writeRegisters(tid, asItWas(found))
  },
}

function setUp(tid: number, { registers: before }: State, rip: bigint, rsp: bigint, call: Partial<Registers>): boolean {
  const eflags = before.eflags & ~TRAP_AND_DIRECTION
  // The thread is in no system call, so none is restarted.
  return writeRegisters(tid, { ...before, ...call, rip, rsp, eflags, orig_rax: NO_CALL })
}

const buffer = pinned(UserRegs.size)

function readRegisters(tid: number): Registers | undefined {
  if (libc.ptrace(PTRACE.GETREGS, tid, 0, buffer.address) !== 0) return undefined
  return UserRegs.readAt(buffer.bytes, 0)
}

function writeRegisters(tid: number, values: Registers): boolean {
  UserRegs.write(buffer.view, 0, values)
  return libc.ptrace(PTRACE.SETREGS, tid, 0, buffer.address) === 0
}

/** The registers that a thread gets back: its own, and a call that a stop would have broken waits on (see restart.ts). */
const asItWas = (values: Registers): Registers =>
  isBrokenByStops(values) ? { ...values, rax: BigInt.asUintN(64, -BigInt(ERRNO.ERESTARTNOHAND)) } : values

function readExtendedState(tid: number): Uint8Array {
  const state = readRegisterSet(tid, NT.X86_XSTATE)
  if (state !== undefined) return state
  throw new HotpatchError('DEFECT', `the vector registers of thread ${tid} cannot be read (${errnoName(errno())})`)
}
