/** The switch itself, tried again until no thread is in the way or the time is over. */
import { HotpatchError } from '../errors.ts'
import type { CatchRequest, Process, SwitchOutcome, SwitchRequest } from '../process/contract.ts'
import { BusyRecord } from './busy.ts'
import type { Consistency } from './consistency.ts'
import type { Deadline } from './retry.ts'
import { frameModulesOf } from './stacks/frame-modules.ts'
import { type Guards, type Inspection, prepareInspection, STACK_BYTES } from './stacks/inspection.ts'
import { rehearsalOf, rehearseInspection } from './stacks/rehearsal.ts'
import { storeAll } from './stores.ts'

export interface SwitchPlan {
  readonly writes: SwitchRequest['writes']
  readonly copies: NonNullable<SwitchRequest['copies']>
  readonly guards: Guards
  /** There is nothing to copy, and every write is one atomic store over a pointer or a single instruction: no thread can be in its middle. */
  readonly storesSuffice: boolean
  /** For a guard's function index. */
  functionName(index: number): string
}

export interface SwitchOptions {
  readonly deadline: Deadline
  readonly consistency: Consistency
  /** Blocking threads are followed until they have left what blocks, and kept there for the switch. */
  readonly waitForReturn?: boolean
}

/** What a caller asked for, with what holds where nothing was said. */
export const switchOptions = (
  { consistency = 'patch', waitForReturn = false }: { readonly consistency?: Consistency; readonly waitForReturn?: boolean },
  deadline: Deadline,
): SwitchOptions => ({ deadline, consistency, waitForReturn })

export interface SwitchReport {
  readonly consistency: Consistency
  /** stores: no thread was stopped. */
  readonly way: 'stop' | 'stores'
  /** How long no thread ran, at the try that succeeded; 0 where none was stopped. */
  readonly stoppedMicroseconds: number
  readonly longestStopMicroseconds: number
  /** How many were stopped. */
  readonly threads: number
  readonly tries: number
}

/** Milliseconds that all threads have to stop in: as long as this one thread that waits in the kernel can hold all others. */
const STOP_TIMEOUT_MS = 200
/** The target runs at least so many times as long as it stood still before it is stopped again. */
const RUNS_AT_LEAST = 10

/** Throws BUSY naming threads and functions, STOP_TIMEOUT; with either nothing is written. */
export async function switchWithRetries(process: Process, plan: SwitchPlan, options: SwitchOptions): Promise<SwitchReport> {
  const { deadline, consistency, waitForReturn = false } = options
  if (consistency === 'function' && plan.storesSuffice) {
    storeAll(process, plan.writes)
    return { consistency, way: 'stores', stoppedMicroseconds: 0, longestStopMicroseconds: 0, threads: 0, tries: 1 }
  }
  const busy = new BusyRecord()
  let longest = 0
  for (;;) {
    const { request, inspection } = deadline.without(() => prepare(process, plan, consistency))
    const followed = waitForReturn && busy.metAny
    const tried = trySwitch(process, followed ? { ...request, catchFirst: catchRequest(busy, inspection, deadline) } : request)
    let stopped = 0
    if (tried instanceof HotpatchError) busy.addFailed()
    else {
      const { stoppedMicroseconds, threads } = tried
      longest = Math.max(longest, stoppedMicroseconds)
      if (tried.switched)
        return { consistency, way: 'stop', stoppedMicroseconds, longestStopMicroseconds: longest, threads, tries: busy.tries + 1 }
      stopped = stoppedMicroseconds
      busy.add(inspection.blocking)
    }
    if (!(await deadline.wait((stopped * RUNS_AT_LEAST) / 1000, busy.standsStill)))
      // Who was in the way says more than that a later try did not get so far.
      throw tried instanceof HotpatchError && !busy.metAny ? tried : busy.error(process, (index) => plan.functionName(index))
  }
}

/** Everything that can be known before a stop. Where modules come and go, it is anew for each. */
function prepare(process: Process, plan: SwitchPlan, consistency: Consistency): { request: SwitchRequest; inspection: Inspection } {
  const { writes, copies, guards } = plan
  const regions = process.regions()
  const modules = frameModulesOf(process).of(regions)
  rehearseInspection(process.machine)
  const looked = consistency === 'patch' ? guards : { ...guards, frames: [] }
  const inspection = prepareInspection(process, looked, { modules, regions })
  return {
    request: {
      writes,
      copies,
      inspect: inspection.inspect,
      rehearse: rehearsalOf(process.machine, inspection),
      stopTimeout: STOP_TIMEOUT_MS,
      stacks: { bytes: STACK_BYTES, regions },
    },
    inspection,
  }
}

/** Longer than this nothing else is done here; as long as that a thread is kept waiting for the others. */
const FOLLOW_MS = 1000

const catchRequest = (busy: BusyRecord, inspection: Inspection, deadline: Deadline): CatchRequest => ({
  threads: busy.recentThreads,
  within: Math.min(FOLLOW_MS, deadline.left()),
  hold: FOLLOW_MS,
  isOut: (stopped, index) => inspection.isOut(stopped, index),
})

function trySwitch(process: Process, request: SwitchRequest): SwitchOutcome | HotpatchError {
  try {
    return process.switchCode(request)
  } catch (error) {
    if (error instanceof HotpatchError && error.code === 'STOP_TIMEOUT') return error
    throw error
  }
}
