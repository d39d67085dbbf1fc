import assert from 'node:assert/strict'
import { HotpatchError } from '../../errors.ts'
import type { Process, ThreadSummary } from '../contract.ts'
import type { ConformanceHost, StartedTarget, TargetControl } from './target.ts'

/** What a case gets: a fresh target and the process opened on it. */
export interface CaseContext {
  readonly host: ConformanceHost
  readonly target: StartedTarget
  readonly process: Process
  readonly control: TargetControl
}

export interface ConformanceCase {
  readonly name: string
  run(context: CaseContext): Promise<void>
}

/** Asserts that `action` throws a HotpatchError of one of `codes`. */
export function throwsCode(codes: HotpatchError['code'] | readonly HotpatchError['code'][], action: () => unknown): HotpatchError {
  try {
    action()
  } catch (error) {
    assert.ok(error instanceof HotpatchError, `expected a HotpatchError, got ${String(error)}`)
    assert.ok([codes].flat().includes(error.code), `expected ${[codes].flat().join(' or ')}, got ${error.message}`)
    return error
  }
  assert.fail(`expected ${[codes].flat().join(' or ')}, nothing was thrown`)
}

/** Until `action` throws, whatever it throws; for as long as a second. */
export async function untilThrown(action: () => unknown): Promise<void> {
  for (const deadline = Date.now() + 1000; Date.now() < deadline; ) {
    try {
      action()
    } catch {
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** Those that a stop shows. Wine lists a thread some time before it exists, on a busy machine for long: it has no TEB then. */
export const begunThreads = (process: Process): ThreadSummary[] => process.threads().filter(({ teb }) => teb !== 0n)
