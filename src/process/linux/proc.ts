/** /proc as tables: pure readers of its texts, and the few ways to get at them. */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Region } from '../contract.ts'

/** One line of /proc/PID/maps. */
export interface Mapping extends Region {
  readonly shared: boolean
  /** In the file, bytes. */
  readonly offset: bigint
  readonly device: string
  readonly inode: string
  /** The file was unlinked or replaced since; `name` keeps the suffix that says so, as the system shows it. */
  readonly deleted: boolean
  /** `name` without that suffix; '' where the mapping has no file. */
  readonly path: string
}

const DELETED = ' (deleted)'

/** proc_pid_maps(5). Lines that it does not describe are left out. */
export function parseMaps(text: string): Mapping[] {
  const mappings: Mapping[] = []
  for (const line of text.split('\n')) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([ps]) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)(?: +(.*))?$/.exec(line)
    if (!match) continue
    const name = unescapeName(match[10] ?? '')
    const deleted = name.startsWith('/') && name.endsWith(DELETED)
    mappings.push({
      start: BigInt(`0x${match[1]}`),
      end: BigInt(`0x${match[2]}`),
      read: match[3] === 'r',
      write: match[4] === 'w',
      execute: match[5] === 'x',
      shared: match[6] === 's',
      offset: BigInt(`0x${match[7]}`),
      device: match[8] as string,
      inode: match[9] as string,
      name,
      deleted,
      path: !name.startsWith('/') ? '' : deleted ? name.slice(0, -DELETED.length) : name,
    })
  }
  return mappings
}

/** The kernel escapes the line feed only. */
const unescapeName = (name: string): string => name.replaceAll('\\012', '\n')

/** The fields of /proc/PID/status by their names. */
export function parseStatus(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim())
  }
  return fields
}

/** What is used of /proc/PID/stat. */
export interface Stat {
  readonly name: string
  /** `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I`. */
  readonly state: string
  /** A thread of the kernel's own. */
  readonly ofKernel: boolean
  /** It has ended, or is about to and may have let go of memory and files, which `state` does not tell yet. */
  readonly ending: boolean
  /** Since boot, in clock ticks. */
  readonly startTime: string
  /** Where the heap begins (brk). 0 without the right to see it. */
  readonly startBrk: bigint
}

/** include/linux/sched.h. */
const PF = { EXITING: 0x4, KTHREAD: 0x20_0000 } as const

/** proc_pid_stat(5). undefined: the text is cut off. */
export function parseStat(text: string): Stat | undefined {
  // The name may hold spaces and parentheses, so everything else counts from the last closing one.
  const open = text.indexOf('(')
  const close = text.lastIndexOf(')')
  if (open < 0 || close < open) return undefined
  const rest = text.slice(close + 2).split(' ')
  const [state, flags, startTime, startBrk] = [rest[0], rest[6], rest[19], rest[44]]
  if (state === undefined || startTime === undefined || !/^\d+$/.test(startTime)) return undefined
  return {
    name: text.slice(open + 1, close),
    state,
    ofKernel: (Number(flags) & PF.KTHREAD) !== 0,
    ending: /^[ZX]$/.test(state) || (Number(flags) & PF.EXITING) !== 0,
    startTime,
    startBrk: startBrk !== undefined && /^\d+$/.test(startBrk) ? BigInt(startBrk) : 0n,
  }
}

/** Of a thread that waits in the kernel. */
export interface WaitingAt {
  readonly stackPointer: bigint
  readonly instructionPointer: bigint
}

/** proc_pid_syscall(5). undefined: the thread is on a processor, or the system does not tell. */
export function parseSyscall(text: string): WaitingAt | undefined {
  const match = / 0x([0-9a-f]+) 0x([0-9a-f]+)\s*$/.exec(text)
  return match === null ? undefined : { stackPointer: BigInt(`0x${match[1]}`), instructionPointer: BigInt(`0x${match[2]}`) }
}

/** The value of an entry of /proc/PID/auxv; undefined where there is none. */
export function auxiliaryValue(auxv: Uint8Array, type: number): bigint | undefined {
  const view = new DataView(auxv.buffer, auxv.byteOffset, auxv.byteLength)
  for (let at = 0; at + 16 <= auxv.length; at += 16)
    if (view.getBigUint64(at, true) === BigInt(type)) return view.getBigUint64(at + 8, true)
  return undefined
}

/** The text of a file of /proc, undefined where it (or its process) is not there. Throws what is not ENOENT or ESRCH. */
export function readProc(path: string): string | undefined {
  return orGone(() => readFileSync(path, 'utf8'))
}

/** '' where it cannot be read, for whatever reason: for where threads stand still, and must be let go before anything else. */
export function readProcOrNothing(path: string): string {
  try {
    return readProc(path) ?? ''
  } catch {
    return ''
  }
}

export const readProcBytes = (path: string): Uint8Array | undefined => orGone(() => readFileSync(path))

export const readProcLink = (path: string): string | undefined => orGone(() => readlinkSync(path))

/** Numbers that are names of entries in a folder of /proc. Empty where it is not there. */
export function numbersIn(folder: string): number[] {
  const entries = orGone(() => readdirSync(folder)) ?? []
  const numbers: number[] = []
  for (const entry of entries) {
    const number = Number(entry)
    if (Number.isInteger(number)) numbers.push(number)
  }
  return numbers
}

/**
 * A thread through which the memory and the open files of a process are to be seen: its main one, or, when that has ended before the
 * others, one of those.
 */
export function livingThread(pid: number): number {
  const hasEnded = (path: string): boolean => parseStat(readProc(`${path}/stat`) ?? '')?.ending ?? true
  if (!hasEnded(`/proc/${pid}`)) return pid
  return numbersIn(`/proc/${pid}/task`).find((tid) => !hasEnded(`/proc/${pid}/task/${tid}`)) ?? pid
}

/** Threads that all end while they are looked through: more than that is no accident. */
const MOST_LOOKS = 100

/**
 * What `look` finds in the folder with `maps`, `mem`, `fd` of such a thread; of another one where that thread has ended meanwhile: from then on there is nothing in its folder, which says nothing of the
 * process. Throws what `look` throws.
 */
export function inProcessFolder<T>(pid: number, look: (folder: string) => T): T {
  for (let tid = livingThread(pid), looks = 1; ; looks++) {
    const found = resultOf(() => look(tid === pid ? `/proc/${pid}` : `/proc/${pid}/task/${tid}`))
    const now = livingThread(pid)
    if (now !== tid && looks < MOST_LOOKS) tid = now
    else if ('error' in found) throw found.error
    else return found.value
  }
}

/** Opens a file in that folder. Throws the system's error. */
export function openInProcess(pid: number, name: string, flags: string): number {
  let fd = -1
  return inProcessFolder(pid, (folder) => {
    if (fd >= 0) closeSync(fd)
    fd = -1
    fd = openSync(`${folder}/${name}`, flags)
    return fd
  })
}

function resultOf<T>(action: () => T): { readonly value: T } | { readonly error: unknown } {
  try {
    return { value: action() }
  } catch (error) {
    return { error }
  }
}

function orGone<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
}
