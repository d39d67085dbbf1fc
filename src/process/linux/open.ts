/** Whether a process can be opened at all, and if not, what stands in the way: one check for each reason, each with its own sentence. */
import { readFileSync } from 'node:fs'
import { EI_CLASS, ELFCLASS64, ELFMAG, Elf64_Ehdr, EM } from '../../binary/elf/definitions.ts'
import { HotpatchError } from '../../errors.ts'
import { AT } from '../../os/linux/definitions.ts'
import type { Memory } from './memory.ts'
import { auxiliaryValue, type Mapping, parseStat, parseStatus, readProc, type Stat } from './proc.ts'

export interface Identity {
  readonly stat: Stat
  readonly status: ReadonlyMap<string, string>
}

/** Throws PROCESS_GONE and PROCESS_UNSUPPORTED. */
export function identify(pid: number): Identity {
  if (!Number.isInteger(pid) || pid <= 0 || pid > 0x7fffffff) throw new HotpatchError('PROCESS_GONE', `there is no process ${pid}`)
  const stat = parseStat(readProc(`/proc/${pid}/stat`) ?? '')
  const statusText = readProc(`/proc/${pid}/status`)
  if (stat === undefined || statusText === undefined) throw new HotpatchError('PROCESS_GONE', `there is no process ${pid}`)
  const status = parseStatus(statusText)
  const refuse = (why: string): never => {
    throw new HotpatchError('PROCESS_UNSUPPORTED', `process ${pid} (${stat.name}) ${why}`)
  }
  if (pid === process.pid) refuse('is hotpatch itself')
  const group = status.get('Tgid')
  if (group !== String(pid)) refuse(`is a thread of process ${group}: give that number`)
  if (stat.state === 'X') throw new HotpatchError('PROCESS_GONE', `process ${pid} has ended`)
  if (stat.state === 'Z' && (status.get('Threads') ?? '1') === '1')
    refuse('is a zombie: it has ended, and its parent has not taken notice yet')
  if (stat.ofKernel) refuse('is a thread of the kernel')
  return { stat, status }
}

/** The processor of the program whose ELF header is at `base`. Throws PROCESS_UNSUPPORTED. */
export function machineOf(pid: number, memory: Memory, base: bigint): 'x64' | 'arm64' {
  const data = memory.read(base, Elf64_Ehdr.size)
  const machine = Elf64_Ehdr.readAt(data, 0).e_machine
  if (data[EI_CLASS] === ELFCLASS64 && machine === EM.X86_64) return 'x64'
  if (data[EI_CLASS] === ELFCLASS64 && machine === EM.AARCH64) return 'arm64'
  throw new HotpatchError('PROCESS_UNSUPPORTED', `process ${pid} runs a program for another processor (ELF machine ${machine})`)
}

/** Kernels for ARM64 come with pages of 4, 16 or 64 KB. Throws PROCESS_UNSUPPORTED. */
export function refusePages(pid: number, auxv: Uint8Array | undefined): void {
  const size = auxv === undefined ? undefined : auxiliaryValue(auxv, AT.PAGESZ)
  if (size !== undefined && size !== 4096n)
    throw new HotpatchError('PROCESS_UNSUPPORTED', `process ${pid} runs with pages of ${size} bytes, hotpatch knows 4096`)
}

/** Why a process in which no 64-bit program was found cannot be opened. */
export function noProgram(pid: number, memory: Memory, maps: readonly Mapping[]): HotpatchError {
  const is32Bit = maps.some((mapping) => {
    const header = mapping.path !== '' && mapping.offset === 0n ? memory.tryRead(mapping.start, EI_CLASS + 1) : undefined
    return header !== undefined && ELFMAG.every((byte, i) => header[i] === byte) && header[EI_CLASS] !== ELFCLASS64
  })
  return new HotpatchError('PROCESS_UNSUPPORTED', `process ${pid} ${is32Bit ? 'is a 32-bit program' : 'maps no program'}`)
}

/** The pid of the tracer of a process or of one of its threads; 0 where there is none. */
export function tracerOf(statusPath: string): number {
  return Number(parseStatus(readProc(statusPath) ?? '').get('TracerPid') ?? 0)
}

/** Throws PROCESS_TRACED, naming the tracer, when `statusPath` shows one. */
export function refuseTraced(pid: number, statusPath: string): void {
  const tracer = tracerOf(statusPath)
  if (tracer === 0) return
  const name = parseStat(readProc(`/proc/${tracer}/stat`) ?? '')?.name
  const named = name === undefined ? `process ${tracer}` : `${name} (process ${tracer})`
  throw new HotpatchError('PROCESS_TRACED', `${named} traces process ${pid}`, { facts: { tracer } })
}

const CAP_SYS_PTRACE = 19n

/** What denies us the process, as an error that names it. Looks at the reasons in the order in which the kernel checks them. */
export function permissionDenied(pid: number, doing: string, cause?: unknown): HotpatchError {
  const theirs = parseStatus(readProc(`/proc/${pid}/status`) ?? '')
  const ours = parseStatus(readProc('/proc/self/status') ?? '')
  const capable = ((BigInt(`0x${ours.get('CapEff') ?? '0'}`) >> CAP_SYS_PTRACE) & 1n) === 1n
  const [uids, ownUid] = [(theirs.get('Uid') ?? '').split(/\s+/), (ours.get('Uid') ?? '').split(/\s+/)[1]]
  const scope = yamaScope()
  const reason = (): [string, string] => {
    if (scope === 3) return ['ptrace_scope', 'kernel.yama.ptrace_scope is 3: no process may be traced until the next boot']
    if (!capable && uids.some((uid) => uid !== ownUid))
      return ['other user', `it belongs to user ${uids[1]}, hotpatch runs as user ${ownUid} without the capability CAP_SYS_PTRACE`]
    if (!capable && scope === 2) return ['capability', 'kernel.yama.ptrace_scope is 2: tracing needs the capability CAP_SYS_PTRACE']
    if (!capable && scope === 1)
      return ['ptrace_scope', 'kernel.yama.ptrace_scope is 1: only the parent of a process may trace it, or CAP_SYS_PTRACE']
    if (!capable)
      return ['protected process', 'it has privileges that hotpatch has not, or made itself not dumpable (CAP_SYS_PTRACE is missing)']
    return ['security module', 'a security module or another user namespace forbids it, although CAP_SYS_PTRACE is there']
  }
  const [right, sentence] = reason()
  return new HotpatchError('PERMISSION_DENIED', `process ${pid} cannot be ${doing}: ${sentence}`, { cause, facts: { right } })
}

function yamaScope(): number {
  try {
    return Number(readFileSync('/proc/sys/kernel/yama/ptrace_scope', 'utf8'))
  } catch {
    return 0
  }
}
