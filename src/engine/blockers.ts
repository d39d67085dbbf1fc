/** Reasons against applying a patch to a process, all of them collected before anything is refused. */
import { ERRORS, type ErrorCode, HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'

export interface Blocker {
  readonly code: ErrorCode
  /** The function that it is about, '' where it is about the whole. */
  readonly symbol: string
  /** One sentence without a full stop. */
  readonly detail: string
  readonly todo: string
}

export const blocker = (code: ErrorCode, symbol: string, detail: string): Blocker => ({ code, symbol, detail, todo: ERRORS[code].todo })

/** A failure that stands for a reason. Failures of the process itself (it is gone, no permission) are thrown on. */
export function blockerOf(error: unknown, symbol: string): Blocker {
  if (!(error instanceof HotpatchError) || error.code === 'PROCESS_GONE' || error.code === 'PERMISSION_DENIED') throw error
  return blocker(error.code, symbol, error.detail)
}

/** Throws where there is a blocker: the first one's code, and all of them in `facts.reasons`. */
export function refuse(process: Process, id: string, blockers: readonly Blocker[]): void {
  const [first, ...others] = blockers
  if (first === undefined) return
  const more = others.length === 0 ? '' : `, and ${others.length} more ${others.length === 1 ? 'reason' : 'reasons'}`
  throw new HotpatchError(first.code, `patch ${id} cannot be applied to process ${process.pid} (${process.name}): ${first.detail}${more}`, {
    facts: { pid: process.pid, id, reasons: blockers },
  })
}
