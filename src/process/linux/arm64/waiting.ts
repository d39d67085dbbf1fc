/**
 * What threads waited in before they were stopped. Where the kernel shows an interrupted call in /proc/TID/syscall, some show its result in the place of the first
 * argument (Debian's 6.1.0-56 does): then only who has looked before knows it.
 */
import { BROKEN_BY_STOPS } from '../broken-calls.ts'
import { readProcOrNothing } from '../proc.ts'

interface Waiting {
  readonly call: number
  /** x0 to x5. */
  readonly args: readonly bigint[]
  readonly stackPointer: bigint
  readonly instructionPointer: bigint
  /** How often the thread had gone to sleep. */
  readonly sleeps: number
}

/** A stop by a tracer counts as one. */
const SLEEPS_OF_A_STOP = 1

const notes = new Map<number, Waiting>()

/** Before the thread is stopped; what was known of it is forgotten. */
export function noteWaiting(tid: number): void {
  notes.delete(tid)
  // In this order: a thread that sleeps anew in between has slept too often later.
  const sleeps = sleepsOf(tid)
  const [call, ...words] = readProcOrNothing(`/proc/${tid}/syscall`).trim().split(' ')
  if (words.length !== 8 || BROKEN_BY_STOPS[Number(call)] !== 1) return
  const values = words.map(BigInt)
  const [stackPointer, instructionPointer] = values.slice(6) as [bigint, bigint]
  notes.set(tid, { call: Number(call), args: values.slice(0, 6), stackPointer, instructionPointer, sleeps })
}

/** The first argument of a call that a stop has broken off, where the thread has slept in nothing else since it was looked at. */
export function notedFirstArgument(
  tid: number,
  {
    words,
    call,
    stackPointer,
    instructionPointer,
  }: Pick<Waiting, 'call' | 'stackPointer' | 'instructionPointer'> & { readonly words: BigUint64Array },
): bigint | undefined {
  const note = notes.get(tid)
  if (note === undefined || note.call !== call) return undefined
  if (note.stackPointer !== stackPointer || note.instructionPointer !== instructionPointer) return undefined
  const [first, ...others] = note.args
  return others.every((value, i) => value === words[i + 1]) && sleepsOf(tid) === note.sleeps + SLEEPS_OF_A_STOP ? first : undefined
}

const SLEEPS = '\nvoluntary_ctxt_switches:'

/** NaN where the thread has ended. The fewer microseconds this takes, the fewer threads move on meanwhile. */
function sleepsOf(tid: number): number {
  const status = readProcOrNothing(`/proc/${tid}/status`)
  const at = status.indexOf(SLEEPS)
  return at < 0 ? Number.NaN : Number.parseInt(status.slice(at + SLEEPS.length), 10)
}
