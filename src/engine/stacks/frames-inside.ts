/** Whether any thread would come back to some memory: what must be known before it is taken away. */
import type { Process } from '../../process/contract.ts'
import { frameModulesOf } from './frame-modules.ts'
import { type BlockingThread, prepareInspection, STACK_BYTES } from './inspection.ts'
import { rehearsalOf } from './rehearsal.ts'

/** Absolute addresses; `end` is one past the last byte. */
export interface CodeRange {
  readonly start: bigint
  readonly end: bigint
}

/** Milliseconds for all threads to stop. */
const STOP_TIMEOUT_MS = 200

/**
 * Threads that stand in one of the ranges, were interrupted in it, or have a return address into it on their stacks; a frame's `function` is
 * the index of the range. Stops the process once and writes nothing. None is found that a suspended coroutine holds: no thread is on its
 * stack. Ranges must not overlap. Throws STOP_TIMEOUT, PROCESS_GONE.
 */
export function framesInside(process: Process, ranges: readonly CodeRange[]): readonly BlockingThread[] {
  const regions = process.regions()
  const modules = frameModulesOf(process).of(regions)
  // A return address may be the range's very first byte only if the call before it is outside: `start` itself counts for what stands there.
  const frames = ranges.map(({ start, end }, index) => ({ start, end, function: index }))
  const inspection = prepareInspection(process, { instructions: [], frames }, { modules, regions })
  process.switchCode({
    writes: [],
    inspect: inspection.inspect,
    rehearse: rehearsalOf(process.machine, inspection),
    stopTimeout: STOP_TIMEOUT_MS,
    stacks: { bytes: STACK_BYTES, regions },
  })
  return inspection.blocking
}
