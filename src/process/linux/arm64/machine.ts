/**
 * Threads on ARM64.
 *
 * How an interrupted system call is restarted differs from x86-64 (arch/arm64/kernel/signal.c, do_signal): the kernel takes the thread back to
 * its `svc`, with x0 as it was, before a tracer sees it, and sees to EINTR itself where a handler is to run. So registers that are
 * put back make the call begin anew; what is lost is the time that a relative timeout had run already (nanosleep, a futex with a timeout),
 * which the kernel remembers on the side only as long as the thread is not used.
 */
import { HotpatchError } from '../../../errors.ts'
import { assembleWords, SIGRETURN, SVC, SVC_RET } from '../../../machine/arm64/remote-call.ts'
import {
  FPSIMD,
  NO_SYSCALL,
  NT_ARM64,
  PSR,
  SVE_PT_REGS_SVE,
  USER_PT_REGS,
  USER_PT_REGS_SIZE,
  UserSveHeader,
} from '../../../os/linux/arm64.ts'
import { errno, errnoName, pinned } from '../../../os/linux/libc.ts'
import { SYS } from '../../../os/linux/syscalls.ts'
import type { CallRequest, LinuxMachine, RegisterFile, ThreadState } from '../machine.ts'
import { fetchRegisterSet, readRegisterSet, writeRegisterSet } from '../register-sets.ts'
import { readSignalMask } from '../signal-mask.ts'
import { keepWaiting, resumed } from './restart.ts'
import { FRAME_SIZE, fitsFrame, makeFrame, type SavedThread, sveVectors } from './sigframe.ts'
import { noteWaiting } from './waiting.ts'

interface State extends ThreadState, SavedThread {}

const [X7, X8, X30] = [7, 8, 30]
const { sp: SP, pc: PC, pstate: PSTATE, words: WORDS } = USER_PT_REGS
const SVC_BYTES = assembleWords([SVC])

const pointer = pinned(16)
const pointerWords = new BigUint64Array(pointer.bytes.buffer)

const registers: RegisterFile = {
  words: WORDS,
  instructionPointer: PC,
  stackPointer: SP,
  // DWARF for the Arm 64-bit Architecture, 4.1: x0 to x30, sp, pc.
  dwarf: Array.from({ length: PC + 1 }, (_, i) => i),
  fetch: (tid, address) => fetchRegisterSet(tid, NT_ARM64.PRSTATUS, address, USER_PT_REGS_SIZE) === USER_PT_REGS_SIZE,
  threadPointer: (tid) => (fetchRegisterSet(tid, NT_ARM64.ARM_TLS, pointer.address, 16) < 8 ? Number.NaN : Number(pointerWords[0])),
  noteWaiting,
  keepWaiting,
}

export const arm64: LinuxMachine = {
  registers,
  code: { syscall: SVC_BYTES, syscallReturn: assembleWords(SVC_RET), restorers: [assembleWords(SIGRETURN)], alignment: 4 },
  redZone: 0n,
  // Guarded control stacks: no program of Linux 6.12 and before has one.
  hasShadowStack: () => false,

  readThread(tid, memory): State | string | undefined {
    const words = readRegisters(tid)
    if (words === undefined) return undefined
    const streaming = readRegisterSet(tid, NT_ARM64.ARM_SSVE)
    if (streaming !== undefined && (UserSveHeader.readAt(streaming, 0).flags & SVE_PT_REGS_SVE) !== 0) return 'is in streaming vector mode'
    const fpsimd = readRegisterSet(tid, NT_ARM64.PRFPREG)
    if (fpsimd?.length !== FPSIMD.size)
      throw new HotpatchError('DEFECT', `the vector registers of thread ${tid} cannot be read (${errnoName(errno())})`)
    const sve = readRegisterSet(tid, NT_ARM64.ARM_SVE)
    if (!fitsFrame(sve)) return 'is at work with vectors that are too long for a signal frame'
    const back = resumed(tid, words, memory)
    const pc = back[PC] as bigint
    const instruction = memory.tryRead(pc, SVC_BYTES.length)
    const waits = instruction !== undefined && Buffer.compare(instruction, SVC_BYTES) === 0
    return {
      instructionPointer: pc,
      stackPointer: back[SP] as bigint,
      threadPointer: BigInt(registers.threadPointer(tid, back, 0) || 0),
      returnAddress: back[X30] as bigint,
      waitsIn: waits ? { number: back[X8] as bigint, firstArgument: back[0] as bigint } : undefined,
      signalMask: readSignalMask(tid),
      frameSize: FRAME_SIZE,
      words: back,
      fpsimd,
      sve,
    }
  },

  makeFrame: (state, top) => makeFrame(state as State, top),

  setUpSyscall(tid, state, number, request) {
    return setUp(tid, state as State, request, BigInt(number))
  },

  setUpFunction(tid, state, request) {
    return setUp(tid, state as State, request, (state as State).words[X8] as bigint)
  },

  result(tid) {
    const words = readRegisters(tid)
    return words === undefined ? undefined : BigInt.asIntN(64, words[0] as bigint)
  },

  isComingBack(tid, frame) {
    const words = readRegisters(tid)
    return words?.[X8] === BigInt(SYS.rt_sigreturn) && words[SP] === frame.stackPointer
  },

  giveBack,
  giveBackAfterReturn: giveBack,

  giveBackVectors(tid, state) {
    const { sve, fpsimd } = state as State
    if (sve === undefined) writeRegisterSet(tid, NT_ARM64.PRFPREG, fpsimd)
    else writeRegisterSet(tid, NT_ARM64.ARM_SVE, sve)
  },

  letGoUnused(tid) {
    const words = readRegisters(tid)
    if (words !== undefined) keepWaiting(tid, undefined, new Int32Array(words.buffer), 0)
  },
}

function setUp(tid: number, { words: before }: State, { at, stackPointer, returnTo, args }: CallRequest, x8: bigint): boolean {
  const words = before.slice()
  args.forEach((value, i) => {
    if (i < X7) words[i] = BigInt.asUintN(64, value)
  })
  words[X8] = x8
  words[X30] = returnTo ?? 0n
  words[SP] = stackPointer
  words[PC] = at
  words[PSTATE] = (words[PSTATE] as bigint) & ~(PSR.BTYPE_MASK | PSR.SS)
  leaveSyscall(tid)
  return writeRegisters(tid, words)
}

/** A system call takes more than x86-64's: it leaves the 128 bits of FPSIMD alone in SVE's registers (Documentation/arch/arm64/sve.rst). */
function giveBack(tid: number, state: ThreadState): boolean {
  const { sve, words } = state as State
  if (sve !== undefined && sveVectors(sve) !== undefined) writeRegisterSet(tid, NT_ARM64.ARM_SVE, sve)
  leaveSyscall(tid)
  return writeRegisters(tid, words)
}

/** The thread is in no system call any more: what is in x0 is no result that could ask for a restart. */
function leaveSyscall(tid: number): void {
  const number = new Uint8Array(4)
  new DataView(number.buffer).setInt32(0, NO_SYSCALL, true)
  writeRegisterSet(tid, NT_ARM64.ARM_SYSTEM_CALL, number)
}

function readRegisters(tid: number): BigUint64Array | undefined {
  const bytes = readRegisterSet(tid, NT_ARM64.PRSTATUS)
  return bytes?.length === USER_PT_REGS_SIZE ? new BigUint64Array(bytes.buffer) : undefined
}

const writeRegisters = (tid: number, words: BigUint64Array): boolean =>
  writeRegisterSet(tid, NT_ARM64.PRSTATUS, new Uint8Array(words.buffer))
