/** Arguments that several commands share, each parsed and described once. */
import { type Acceptance, isAcceptable } from '../builder/acceptances.ts'
import type { Consistency } from '../engine/consistency.ts'
import { HotpatchError } from '../errors.ts'

/** stricli reports what a parser throws as a usage error. */
export function processId(text: string): number {
  const pid = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(pid) || pid === 0) throw new SyntaxError(`"${text}" is not a process id`)
  return pid
}

export function seconds(text: string): number {
  const value = Number(text)
  if (!/^\d+(\.\d+)?$/.test(text) || value > 86_400) throw new SyntaxError(`"${text}" is not a number of seconds up to 86400`)
  return value
}

export function sequenceNumber(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > 0xffffffff) throw new SyntaxError(`"${text}" is not a sequence number (1 to 4294967295)`)
  return value
}

export function stripCount(text: string): number {
  if (!/^\d{1,2}$/.test(text)) throw new SyntaxError(`"${text}" is not a number of folders`)
  return Number(text)
}

export function patchId(text: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text))
    throw new SyntaxError(`"${text}" is not an id: letters, digits, dot, dash and underscore, at most 64`)
  return text
}

export function cveId(text: string): string {
  if (!/^CVE-\d{4}-\d{4,}$/.test(text)) throw new SyntaxError(`"${text}" is not a CVE id (CVE-2023-0809)`)
  return text
}

/** `CODE:SYMBOL` as a refusal has them. */
export function acceptance(text: string): Acceptance {
  const colon = text.indexOf(':')
  const code = text.slice(0, Math.max(0, colon))
  const symbol = text.slice(colon + 1)
  if (colon <= 0 || symbol === '') throw new SyntaxError(`"${text}" is not CODE:SYMBOL`)
  if (!isAcceptable(code)) throw new SyntaxError(`${code} is no reason that can be accepted`)
  return { code, symbol }
}

/** A path as it stands; the empty one is nobody's file. */
export function path(text: string): string {
  if (text === '') throw new SyntaxError('a path is empty')
  return text
}

/** A process's own name, as its system shows it. */
export function processName(text: string): string {
  if (text === '' || /[/\\]/.test(text)) throw new SyntaxError(`"${text}" is not the name of a process (without folders)`)
  return text
}

export const pidFlag = { kind: 'parsed', parse: processId, brief: 'The process', optional: true, placeholder: 'pid' } as const

export const nameFlag = {
  kind: 'parsed',
  parse: processName,
  brief: 'With --all: only processes of this name',
  optional: true,
  placeholder: 'PROCESS',
} as const

/** How a switch is done. */
export interface SwitchFlags {
  /** Seconds. */
  readonly timeout: number
  readonly consistency: Consistency
  readonly waitForReturn: boolean
}

/** Which processes a command is about: one, or all that it concerns. */
export interface WhichFlags {
  readonly pid?: number
  readonly all: boolean
  readonly name?: string
}

/** Throws USAGE where it is not one of the two. undefined: all. */
export function onePid({ pid, all, name }: WhichFlags): number | undefined {
  if (all === (pid !== undefined)) throw new HotpatchError('USAGE', all ? '--pid and --all contradict each other' : 'give --pid or --all')
  if (name !== undefined && !all) throw new HotpatchError('USAGE', '--name chooses among all processes: give --all with it')
  return pid
}

export const allFlag = (brief: string) => ({ kind: 'boolean', brief, default: false, withNegated: false }) as const

export const timeoutFlag = {
  kind: 'parsed',
  parse: seconds,
  brief: 'How long to wait for a safe moment, in seconds',
  placeholder: 'seconds',
  default: '10',
} as const

export const consistencyFlag = {
  kind: 'enum',
  values: ['none', 'function', 'patch'],
  brief: 'What the functions owe each other at the switch',
  default: 'patch',
} as const

/** For the full description of a command that has it. */
export const CONSISTENCY = [
  'Consistency "patch": all functions switch at one instant, in which no thread is inside any of them. "function": each function switches',
  'on its own; where that takes single stores only, no thread is stopped. "none": all at one instant, whoever is inside them.',
] as const

export const waitForReturnFlag = {
  kind: 'boolean',
  brief: 'Follow threads that are in the way until they have left, and keep them there for the switch',
  default: false,
  withNegated: false,
} as const

export const forceFlag = {
  kind: 'boolean',
  brief: 'Replace an applied patch of the same sequence number',
  default: false,
  withNegated: false,
} as const

export const sourceDiffFlag = {
  kind: 'parsed',
  parse: path,
  brief: 'The fix as a unified diff: numbers then count as moved lines only where it says so',
  optional: true,
  placeholder: 'FILE',
} as const

export const patchArguments = {
  kind: 'array',
  parameter: { brief: 'The patch image; several where they belong together', parse: path, placeholder: 'PATCH' },
  minimum: 1,
} as const

export const patchArgument = { kind: 'tuple', parameters: [{ brief: 'The patch image', parse: path, placeholder: 'PATCH' }] } as const
