import type { Process } from '../../src/process/contract.ts'

/** What test/targets/borrowed.c counts. */
export interface Counters {
  readonly rounds: bigint
  readonly bad: bigint
  readonly signals: bigint
  readonly wrong: bigint
}

export const MODES = ['spin', 'signals', 'epoll', 'poll', 'read', 'futex', 'sleep', 'long', 'sigsuspend'] as const

export function readCounters(process: Process, address: bigint): Counters {
  const bytes = process.read(address, 32)
  const view = new DataView(bytes.buffer)
  return {
    rounds: view.getBigUint64(0, true),
    bad: view.getBigUint64(8, true),
    signals: view.getBigUint64(16, true),
    wrong: view.getBigInt64(24, true),
  }
}
