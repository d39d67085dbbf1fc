/**
 * The patch's own callback, `u32 __PatchMainCallout__(info *, u32 size)`: told before the switch (what is not 0 cancels), after it, and when the
 * patch is undone. It runs on one thread of the target while all others run on; ledger.ts says what is remembered of it.
 */
import { struct, u32 } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'
import { type Ledger, type LedgerBody, setCalloutState } from './ledger.ts'

/** `info`. */
const CalloutInfo = struct('PATCH_MAIN_CALLOUT_INFO', { version: u32, operation: u32, reserved: u32 })
const VERSION = 1
const OPERATIONS = { before: 0, after: 1, undone: 2 } as const
export type CalloutOperation = keyof typeof OPERATIONS

export interface CalloutReport {
  readonly operation: CalloutOperation
  readonly outcome: /** It returned 0. */
    | 'done'
    /** It returned `result`. */
    | 'failed'
    /** It raised a signal, or ended its thread. */
    | 'faulted'
    /** It did not return in time, and may be at work still. */
    | 'timed-out'
    /** There was no thread that it could have been called on, or no memory for the call. */
    | 'not-called'
  readonly result: number
  /** What stood in the way, where it did not return. */
  readonly detail: string
}

/** Milliseconds to find a thread, and as many to run. */
const DEADLINE_MS = 5000

/** Throws CALLOUT_CANCELLED with its result; CALL_FAULTED, CALL_TIMEOUT, NO_SAFE_THREAD and what else the process throws. */
export function callBefore(process: Process, ledger: LedgerBody): CalloutReport[] {
  if (ledger.callout === 0n) return []
  const report = callOut(process, ledger, 'before')
  if (report.outcome === 'done') return [report]
  // It took back itself what it had done, or nobody knows: it is not told of an undoing.
  setCalloutState(process, ledger, report.outcome === 'not-called' ? 'none' : 'undone')
  const what = `the callback of ${ledger.names.id} in process ${process.pid}`
  const facts = { pid: process.pid, id: ledger.names.id, ...report }
  if (report.outcome === 'failed') {
    const code = `0x${report.result.toString(16)}`
    throw new HotpatchError('CALLOUT_CANCELLED', `${what} cancelled the patch with ${code}`, { facts })
  }
  throw report.cause
}

/** Throws PROCESS_GONE only: the patch is applied whatever it answers. */
export function callAfter(process: Process, ledger: LedgerBody): CalloutReport[] {
  return ledger.callout === 0n ? [] : [withoutCause(callOut(process, ledger, 'after'))]
}

/** Only where it was told before. Throws PROCESS_GONE only. */
export function callUndone(process: Process, ledger: Ledger): CalloutReport[] {
  const wasCalled = ledger.calloutState === 'before' || ledger.calloutState === 'after'
  return ledger.callout === 0n || !wasCalled ? [] : [withoutCause(callOut(process, ledger, 'undone'))]
}

type Called = CalloutReport & { readonly cause: unknown }

const withoutCause = ({ cause: _, ...report }: Called): CalloutReport => report

function callOut(process: Process, ledger: LedgerBody, operation: CalloutOperation): Called {
  const info = CalloutInfo.encode({ version: VERSION, operation: OPERATIONS[operation], reserved: 0 })
  setCalloutState(process, ledger, operation)
  try {
    const returned = process.call(ledger.callout, [info, BigInt(info.length)], { deadlineMs: DEADLINE_MS })
    const result = Number(BigInt.asUintN(32, returned))
    return { operation, outcome: result === 0 ? 'done' : 'failed', result, detail: '', cause: undefined }
  } catch (cause) {
    if (!(cause instanceof HotpatchError) || cause.code === 'PROCESS_GONE') throw cause
    const outcome = cause.code === 'CALL_TIMEOUT' ? 'timed-out' : cause.code === 'CALL_FAULTED' ? 'faulted' : 'not-called'
    return { operation, outcome, result: 0, detail: cause.detail, cause }
  }
}
