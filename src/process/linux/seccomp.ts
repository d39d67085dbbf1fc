/**
 * Filters that a thread put on its own system calls (seccomp(2)). A call that they forbid may kill the program, so the filters are read
 * and run here before it is made; none is ever taken off.
 */
import { struct, u8, u16, u32, viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import { BPF, ERRNO, PTRACE, SECCOMP_RET } from '../../os/linux/definitions.ts'
import { errno, errnoName, libc, pinned } from '../../os/linux/libc.ts'
import { AUDIT_ARCH, SYS, type SyscallName } from '../../os/linux/syscalls.ts'
import { parseStatus, readProc } from './proc.ts'

/** linux/filter.h: struct sock_filter. */
const Instruction = struct('sock_filter', { code: u16, jt: u8, jf: u8, k: u32 })
/** linux/filter.h: BPF_MAXINSNS. */
const LONGEST_PROGRAM = 4096
/** linux/seccomp.h: struct seccomp_data: number, processor, instruction pointer, six arguments. */
const DATA_SIZE = 64
const SCRATCH_WORDS = 16

export interface Program {
  readonly code: Uint16Array
  readonly jt: Uint8Array
  readonly jf: Uint8Array
  readonly k: Uint32Array
}

/** What the filters say to a call: ALLOW or LOG let it happen. */
export interface Verdict {
  readonly allowed: boolean
  /** `KILL_PROCESS`, `ERRNO`, … */
  readonly action: string
}

/** The filters of a stopped thread. Throws MAPPING_REFUSED when it has some that cannot be read. */
export function readFilters(pid: number, tid: number): readonly Program[] {
  const mode = parseStatus(readProc(`/proc/${pid}/task/${tid}/status`) ?? '').get('Seccomp') ?? '0'
  if (mode === '0') return []
  if (mode === '1')
    throw new HotpatchError('MAPPING_REFUSED', `process ${pid} runs in strict seccomp mode, which leaves it read, write and exit`)
  const programs: Program[] = []
  for (;;) {
    const buffer = pinned(LONGEST_PROGRAM * Instruction.size)
    const count = libc.ptrace(PTRACE.SECCOMP_GET_FILTER, tid, programs.length, buffer.address)
    if (count > 0) programs.push(parseProgram(buffer.bytes.subarray(0, count * Instruction.size)))
    else if (errno() === ERRNO.ENOENT && programs.length > 0) return programs
    else
      throw new HotpatchError(
        'MAPPING_REFUSED',
        `process ${pid} runs under a seccomp filter that cannot be read (${errnoName(errno())}): that needs CAP_SYS_ADMIN`,
      )
  }
}

export function parseProgram(bytes: Uint8Array): Program {
  const instructions = Instruction.readMany(bytes, 0, Math.floor(bytes.length / Instruction.size))
  return {
    code: Uint16Array.from(instructions, ({ code }) => code),
    jt: Uint8Array.from(instructions, ({ jt }) => jt),
    jf: Uint8Array.from(instructions, ({ jf }) => jf),
    k: Uint32Array.from(instructions, ({ k }) => k),
  }
}

/** Runs all filters, as the kernel does; the strictest answer counts. */
export function judge(filters: readonly Program[], call: number, args: readonly bigint[], instructionPointer: bigint): Verdict {
  const data = new Uint8Array(DATA_SIZE)
  const view = viewOf(data)
  view.setUint32(0, call, true)
  view.setUint32(4, AUDIT_ARCH, true)
  view.setBigUint64(8, instructionPointer, true)
  for (const [i, argument] of args.entries()) view.setBigUint64(16 + 8 * i, argument, true)
  let strictest: number = SECCOMP_RET.ALLOW
  for (const filter of filters) {
    const answer = run(filter, view)
    // As signed numbers the actions ascend from the strictest, KILL_PROCESS, to ALLOW.
    if ((answer & SECCOMP_RET.ACTION_FULL) < strictest) strictest = answer & SECCOMP_RET.ACTION_FULL
  }
  const action = Object.entries(SECCOMP_RET).find(([, value]) => (value | 0) === strictest)?.[0] ?? `0x${(strictest >>> 0).toString(16)}`
  return { allowed: strictest === SECCOMP_RET.ALLOW || strictest === SECCOMP_RET.LOG, action }
}

/** Classic BPF as net/core/filter.c has it, on seccomp_data. What is no valid program kills, as an unknown action does. */
export function run({ code, jt, jf, k }: Program, data: DataView): number {
  let [a, x] = [0, 0]
  const scratch = new Uint32Array(SCRATCH_WORDS)
  for (let at = 0; at < code.length; at++) {
    const operation = code[at] as number
    const constant = k[at] as number
    const operand = (operation & BPF.X) !== 0 ? x : constant
    switch (operation & BPF.CLASS) {
      case BPF.LD:
      case BPF.LDX: {
        const value = load(operation & BPF.MODE, constant, data, scratch)
        if (value === undefined) return SECCOMP_RET.KILL_PROCESS
        if ((operation & BPF.CLASS) === BPF.LD) a = value
        else x = value
        break
      }
      case BPF.ST:
        scratch[constant % SCRATCH_WORDS] = a
        break
      case BPF.STX:
        scratch[constant % SCRATCH_WORDS] = x
        break
      case BPF.ALU: {
        const result = compute(operation & BPF.OPERATION, a, operand)
        if (result === undefined) return SECCOMP_RET.KILL_PROCESS
        a = result
        break
      }
      case BPF.JMP:
        at +=
          (operation & BPF.OPERATION) === BPF.JA ? constant : ((holds(operation & BPF.OPERATION, a, operand) ? jt[at] : jf[at]) as number)
        break
      case BPF.RET:
        return ((operation & BPF.RVAL) === BPF.A ? a : constant) | 0
      default:
        if ((operation & BPF.OPERATION_MISC) === BPF.TXA) a = x
        else x = a
    }
  }
  return SECCOMP_RET.KILL_PROCESS
}

function load(mode: number, constant: number, data: DataView, scratch: Uint32Array): number | undefined {
  switch (mode) {
    case BPF.IMM:
      return constant
    case BPF.ABS:
      return constant % 4 === 0 && constant + 4 <= DATA_SIZE ? data.getUint32(constant, true) : undefined
    case BPF.MEM:
      return scratch[constant % SCRATCH_WORDS]
    case BPF.LEN:
      return DATA_SIZE
    default:
      return undefined
  }
}

function compute(operation: number, a: number, operand: number): number | undefined {
  switch (operation) {
    case BPF.ADD:
      return (a + operand) >>> 0
    case BPF.SUB:
      return (a - operand) >>> 0
    case BPF.MUL:
      return Math.imul(a, operand) >>> 0
    case BPF.DIV:
      return operand === 0 ? undefined : Math.floor(a / operand)
    case BPF.MOD:
      return operand === 0 ? undefined : a % operand
    case BPF.OR:
      return (a | operand) >>> 0
    case BPF.AND:
      return (a & operand) >>> 0
    case BPF.XOR:
      return (a ^ operand) >>> 0
    case BPF.LSH:
      return operand > 31 ? 0 : (a << operand) >>> 0
    case BPF.RSH:
      return operand > 31 ? 0 : a >>> operand
    case BPF.NEG:
      return -a >>> 0
    default:
      return undefined
  }
}

function holds(operation: number, a: number, operand: number): boolean {
  switch (operation) {
    case BPF.JEQ:
      return a === operand
    case BPF.JGT:
      return a > operand
    case BPF.JGE:
      return a >= operand
    default:
      return (a & operand) !== 0
  }
}

/** The refusal of a call that the filters do not let happen. */
export const forbiddenBySeccomp = (pid: number, call: SyscallName, action: string): HotpatchError =>
  new HotpatchError('MAPPING_REFUSED', `a seccomp filter of process ${pid} answers the system call ${call} with ${action}`, {
    facts: { call, number: SYS[call], action },
  })
