/** Undoing a patch: the original bytes back at one instant, exactly. */
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'
import { exclusively } from './exclusive.ts'
import { findLedgers } from './find-ledgers.ts'
import { type Ledger, setState } from './ledger.ts'
import { type Recovery, recoverAll, recoverAt, revert } from './recover.ts'
import { deadlineIn } from './retry.ts'
import { foreignBytes, hexAddress, lookAtSites } from './sites.ts'
import { type Consistency, type SwitchOptions, type SwitchReport, switchOptions } from './switch.ts'

export interface RollbackOptions {
  /** Which patch, where several are applied (to different base images). */
  readonly id?: string | undefined
  /** Milliseconds in which the target has to have a safe moment. */
  readonly timeoutMs?: number
  /** Default: patch. */
  readonly consistency?: Consistency
  /** Threads that are in the way are followed until they have left. */
  readonly waitForReturn?: boolean
}

export interface RollbackReport {
  readonly pid: number
  readonly outcome: 'rolled-back' | 'nothing-to-roll-back'
  readonly id: string | undefined
  readonly functions: readonly { readonly name: string; readonly address: string }[]
  readonly stop: SwitchReport | undefined
  /** Memory that stays mapped, since threads may still return into it. */
  readonly retired: readonly { readonly address: string; readonly size: number }[]
  /** What an engine that was cut off had left, and what became of it. */
  readonly recovered: readonly Recovery[]
}

/**
 * Throws BUSY (a thread stays in bytes that are to be restored), VERIFY_FAILED (the bytes in place are not what hotpatch wrote),
 * PATCH_AMBIGUOUS, LEDGER_DAMAGED, ENGINE_AT_WORK.
 */
export async function rollbackPatch(process: Process, options: RollbackOptions = {}): Promise<RollbackReport> {
  const deadline = deadlineIn(options.timeoutMs ?? 10_000)
  return exclusively(process, deadline, () => rollBackAlone(process, options.id, switchOptions(options, deadline)))
}

async function rollBackAlone(process: Process, id: string | undefined, options: SwitchOptions): Promise<RollbackReport> {
  const recovered = await recoverAll(process, options.deadline)
  const { ledgers } = findLedgers(process)
  // An engine that was cut off while it rolled back has left to recovery what is asked for.
  const undone = ledgers.find((ledger) => recovered.some((r) => r.outcome === 'undone' && r.ledger === hexAddress(ledger.address)))
  const ledger = choose(process, ledgers, id)
  if (ledger === undefined) {
    const isAsked = undone !== undefined && (id === undefined || undone.names.id === id)
    return isAsked ? report(process, undone, undefined, recovered) : nothing(process, id, recovered)
  }
  requireOurBytes(process, ledger)
  return report(process, ledger, await revertOrRestore(process, ledger, options), recovered)
}

const report = (process: Process, ledger: Ledger, stop: SwitchReport | undefined, recovered: readonly Recovery[]): RollbackReport => ({
  pid: process.pid,
  outcome: 'rolled-back',
  id: ledger.names.id,
  functions: ledger.functions.map((f) => ({ name: f.name, address: hexAddress(f.entryAddress) })),
  stop,
  retired: [
    { address: hexAddress(ledger.image.address), size: ledger.image.size },
    { address: hexAddress(ledger.address), size: ledger.regionSize },
  ],
  recovered,
})

const nothing = (process: Process, id: string | undefined, recovered: readonly Recovery[]): RollbackReport => ({
  pid: process.pid,
  outcome: 'nothing-to-roll-back',
  id,
  functions: [],
  stop: undefined,
  retired: [],
  recovered,
})

function choose(process: Process, ledgers: readonly Ledger[], id: string | undefined): Ledger | undefined {
  const applied = ledgers.filter((ledger) => ledger.state === 'applied' && (id === undefined || ledger.names.id === id))
  if (applied.length > 1) {
    const ids = applied.map((ledger) => ledger.names.id)
    throw new HotpatchError('PATCH_AMBIGUOUS', `process ${process.pid} carries ${applied.length} patches: ${ids.join(', ')}`, {
      facts: { pid: process.pid, ids },
    })
  }
  return applied[0]
}

function requireOurBytes(process: Process, ledger: Ledger): void {
  const states = [...lookAtSites(process, ledger, 'switch'), ...lookAtSites(process, ledger, 'prepare')]
  const foreign = states.filter((state) => state.bytes !== 'replaced')
  if (foreign.length > 0) throw foreignBytes(process, ledger, foreign)
}

async function revertOrRestore(process: Process, ledger: Ledger, options: SwitchOptions): Promise<SwitchReport | undefined> {
  setState(process, ledger, 'reverting')
  try {
    return await revert(process, ledger, options)
  } catch (error) {
    // Where no entry was put back, this says `applied` again. Where it cannot, the state tells the next engine.
    await recoverAt(process, ledger.address, options.deadline).catch(() => undefined)
    throw error
  }
}
