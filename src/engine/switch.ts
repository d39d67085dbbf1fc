/** The switch itself: all writes at one instant, tried again until no thread is in the way or the time is over. */
import { HotpatchError } from '../errors.ts'
import type { Blocker, Process, SwitchOutcome, SwitchRequest } from '../process/contract.ts'
import { type Guard, prepareInspection } from './quiescence.ts'
import type { Deadline } from './retry.ts'
import { hexAddress } from './sites.ts'

export interface SwitchPlan {
  readonly writes: SwitchRequest['writes']
  readonly guards: readonly Guard[]
  /** For a guard's function index. */
  functionName(index: number): string
}

export interface SwitchReport {
  /** How long no thread ran, at the try that succeeded. */
  readonly stoppedMicroseconds: number
  readonly longestStopMicroseconds: number
  readonly threads: number
  readonly tries: number
}

/** Milliseconds that all threads have to stop in: as long as this one thread that waits in the kernel can hold all others. */
const STOP_TIMEOUT_MS = 200

/** Throws BUSY naming thread and function, STOP_TIMEOUT; with either nothing is written. */
export async function switchWithRetries(process: Process, plan: SwitchPlan, deadline: Deadline): Promise<SwitchReport> {
  const request: SwitchRequest = { writes: plan.writes, inspect: prepareInspection(plan.guards), stopTimeout: STOP_TIMEOUT_MS }
  let longest = 0
  for (let tries = 1; ; tries++) {
    const tried = trySwitch(process, request)
    if (!(tried instanceof HotpatchError)) {
      longest = Math.max(longest, tried.stoppedMicroseconds)
      if (tried.switched) {
        const { stoppedMicroseconds, threads } = tried
        return { stoppedMicroseconds, longestStopMicroseconds: longest, threads, tries }
      }
    }
    if (!(await deadline.wait())) throw tried instanceof HotpatchError ? tried : busy(process, plan, tried.blocker, tries)
  }
}

function trySwitch(process: Process, request: SwitchRequest): SwitchOutcome | HotpatchError {
  try {
    return process.switchCode(request)
  } catch (error) {
    if (error instanceof HotpatchError && error.code === 'STOP_TIMEOUT') return error
    throw error
  }
}

function busy(process: Process, plan: SwitchPlan, blocker: Blocker, tries: number): HotpatchError {
  const thread = { id: blocker.threadId, name: threadName(process, blocker.threadId) }
  const symbol = plan.functionName(blocker.guard)
  const address = hexAddress(blocker.instructionPointer)
  const detail = `thread ${thread.id}${thread.name && ` (${thread.name})`} stands at ${address} in ${symbol}, in bytes that are to be rewritten`
  return new HotpatchError('BUSY', `${detail}; tried ${tries} times`, {
    facts: { pid: process.pid, thread, function: symbol, instructionPointer: address, tries, reasons: [{ code: 'BUSY', symbol, detail }] },
  })
}

/** Asked after the stop, when the thread may have ended. */
const threadName = (process: Process, id: number): string => process.threads().find((thread) => thread.id === id)?.name ?? ''
