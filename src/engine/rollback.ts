/** Undoing a patch: the original bytes back at one instant, exactly. */
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'
import type { CalloutReport } from './callout.ts'
import { type Consistency, requireConsistency, sideOf } from './consistency.ts'
import { exclusively } from './exclusive.ts'
import { findLedgers } from './find-ledgers.ts'
import { isInPlace, type Ledger, setState } from './ledger.ts'
import { checkImage } from './memory-check.ts'
import { NOTHING_RECLAIMED, type ReclaimReport, reclaimAfter } from './reclaim.ts'
import { type Recovery, type Reverted, recoverAll, resume, revert } from './recover.ts'
import { type Deadline, deadlineIn } from './retry.ts'
import { foreignBytes, hexAddress, lookAt } from './sites.ts'
import { type SwitchOptions, type SwitchReport, switchOptions } from './switch.ts'
import { transition, wholeOf } from './transition.ts'

export interface RollbackOptions {
  /** Which patch, where several are applied (to different base images). */
  readonly id?: string | undefined
  /** Back to the patch of this sequence number, which it superseded, instead of to the original program. */
  readonly to?: number | undefined
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
  /** The patch that is in place again; undefined: the original program is. */
  readonly to: { readonly id: string; readonly sequence: number } | undefined
  readonly functions: readonly { readonly name: string; readonly address: string }[]
  readonly stop: SwitchReport | undefined
  /** What the patch's callback answered, where it has one. */
  readonly callouts: readonly CalloutReport[]
  /** Memory of the patch that stays mapped, since something may still lead into it. */
  readonly retired: readonly { readonly address: string; readonly size: number }[]
  /** Memory of this and other patches that nothing leads into any more. */
  readonly reclaim: ReclaimReport
  /** What an engine that was cut off had left, and what became of it. */
  readonly recovered: readonly Recovery[]
}

/**
 * Throws BUSY (a thread stays in bytes that are to be restored), VERIFY_FAILED (the bytes in place are not what hotpatch wrote),
 * PATCH_AMBIGUOUS, PREDECESSOR_GONE, CONSISTENCY_REQUIRED, LEDGER_DAMAGED, ENGINE_AT_WORK.
 */
export async function rollbackPatch(process: Process, options: RollbackOptions = {}): Promise<RollbackReport> {
  const deadline = deadlineIn(options.timeoutMs ?? 10_000)
  return exclusively(process, deadline, () => rollBackAlone(process, options, switchOptions(options, deadline)))
}

async function rollBackAlone(process: Process, { id, to }: RollbackOptions, how: SwitchOptions): Promise<RollbackReport> {
  const recovered = await recoverAll(process, how.deadline)
  const { ledgers } = findLedgers(process)
  const ledger = choose(process, ledgers, id)
  if (ledger === undefined || ledger.sequence === to) {
    // An engine that was cut off while it rolled back has left to recovery what is asked for.
    const undone = ledgers.find((other) => recovered.some((r) => r.outcome === 'undone' && r.ledger === hexAddress(other.address)))
    const isAsked = undone !== undefined && (id === undefined || undone.names.id === id)
    const standing = ledgers.find((other) => isInPlace(other) && other.base.address === undone?.base.address)
    return isAsked ? report(process, undone, standing, NOTHING_DONE, recovered) : nothing(process, id, recovered)
  }
  const other = to === undefined ? undefined : predecessorOf(process, ledger, ledgers, to)
  requireConsistency(how.consistency, (other === undefined ? [ledger] : [ledger, other]).map(sideOf))
  requireOurBytes(process, ledger, other)
  return report(process, ledger, other, await revertOrRestore(process, ledger, other, how), recovered)
}

const NOTHING_DONE: Reverted = { stop: undefined, callouts: [] }

const report = (
  process: Process,
  ledger: Ledger,
  other: Ledger | undefined,
  { stop, callouts }: Reverted,
  recovered: readonly Recovery[],
): RollbackReport => ({
  pid: process.pid,
  outcome: 'rolled-back',
  id: ledger.names.id,
  to: other && { id: other.names.id, sequence: other.sequence },
  functions: ledger.functions.map((f) => ({ name: f.name, address: hexAddress(f.entryAddress) })),
  stop,
  callouts,
  ...memoryOf(process, ledger, stop),
  recovered,
})

/** After what can be given back was given back. */
function memoryOf(process: Process, ledger: Ledger, stop: SwitchReport | undefined): Pick<RollbackReport, 'retired' | 'reclaim'> {
  const reclaim = reclaimAfter(process, stop)
  const memory = [
    { address: hexAddress(ledger.image.address), size: ledger.image.size },
    { address: hexAddress(ledger.address), size: ledger.regionSize },
  ]
  return { retired: memory.filter(({ address }) => !reclaim.memory.some((gone) => gone.address === address)), reclaim }
}

const nothing = (process: Process, id: string | undefined, recovered: readonly Recovery[]): RollbackReport => ({
  pid: process.pid,
  outcome: 'nothing-to-roll-back',
  id,
  to: undefined,
  functions: [],
  ...NOTHING_DONE,
  retired: [],
  reclaim: NOTHING_RECLAIMED,
  recovered,
})

function choose(process: Process, ledgers: readonly Ledger[], id: string | undefined): Ledger | undefined {
  const applied = ledgers.filter((ledger) => isInPlace(ledger) && (id === undefined || ledger.names.id === id))
  if (applied.length > 1) {
    const ids = applied.map((ledger) => ledger.names.id)
    throw new HotpatchError('PATCH_AMBIGUOUS', `process ${process.pid} carries ${applied.length} patches: ${ids.join(', ')}`, {
      facts: { pid: process.pid, ids },
    })
  }
  return applied[0]
}

function predecessorOf(process: Process, ledger: Ledger, ledgers: readonly Ledger[], sequence: number): Ledger {
  const found = ledgers.find((other) => other.address === ledger.predecessor && other.successor === ledger.address)
  if (found?.state === 'superseded' && found.imageState === 'mapped' && found.sequence === sequence) return found
  const there = found?.imageState === 'mapped' ? `only sequence ${found.sequence} can be resumed` : 'the memory of none is left'
  throw new HotpatchError(
    'PREDECESSOR_GONE',
    `${ledger.names.id} (sequence ${ledger.sequence}) in process ${process.pid} cannot be rolled back to sequence ${sequence}: ${there}`,
    { facts: { pid: process.pid, id: ledger.names.id, sequence, resumable: found?.sequence } },
  )
}

function requireOurBytes(process: Process, ledger: Ledger, other: Ledger | undefined): void {
  const states = lookAt(process, wholeOf(ledger))
  const foreign = states.filter(({ bytes }) => bytes !== 'to')
  if (foreign.length > 0) throw foreignBytes(process, ledger, foreign)
  if (other === undefined) return
  const way = transition(ledger, other)
  const strange = lookAt(process, [...way.before, ...way.switch]).filter(({ bytes }) => bytes !== 'from')
  if (strange.length > 0) throw foreignBytes(process, other, strange)
  const [finding] = checkImage(process, other)
  if (finding !== undefined)
    throw new HotpatchError('VERIFY_FAILED', `the patch image of ${other.names.id} in process ${process.pid} is not what hotpatch mapped`, {
      facts: { pid: process.pid, id: other.names.id, address: finding.address },
    })
}

async function revertOrRestore(process: Process, ledger: Ledger, other: Ledger | undefined, how: SwitchOptions): Promise<Reverted> {
  const resuming = other && { ...other, state: 'resuming' as const }
  let reverted = NOTHING_DONE
  try {
    if (resuming !== undefined) setState(process, resuming, 'resuming')
    setState(process, ledger, 'reverting')
    reverted = await revert(process, ledger, resuming, how)
    if (resuming !== undefined) resume(process, resuming)
    return reverted
  } catch (error) {
    if (await isUndone(process, ledger, how.deadline)) return reverted
    throw error
  }
}

/** After a failure. Where no entry was put back, the ledger says `applied` again. Where it cannot, its state tells the next engine. */
async function isUndone(process: Process, ledger: Ledger, deadline: Deadline): Promise<boolean> {
  try {
    await recoverAll(process, deadline)
    return findLedgers(process).ledgers.some(({ address, state }) => address === ledger.address && state === 'reverted')
  } catch {
    return false
  }
}
