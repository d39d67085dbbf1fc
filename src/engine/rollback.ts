/** Undoing a patch: the original bytes back at one instant, exactly. */
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'
import type { CalloutReport } from './callout.ts'
import { type Consistency, requireConsistency, sideOf } from './consistency.ts'
import { exclusively } from './exclusive.ts'
import { isInPlace, type Ledger, setState, tieTogether } from './ledger.ts'
import { checkImage } from './memory-check.ts'
import { NOTHING_RECLAIMED, type ReclaimReport, reclaimAfter } from './reclaim.ts'
import { type Recovery, type Reverted, type Reverting, recoverAll, resume, revert } from './recover.ts'
import { type Deadline, deadlineIn } from './retry.ts'
import { foreignBytes, hexAddress, lookAt } from './sites.ts'
import { type SwitchOptions, type SwitchReport, switchOptions } from './switch.ts'
import { transition, wholeOf } from './transition.ts'

export interface RollbackOptions {
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
export async function rollbackPatch(
  process: Process,
  { id, ...options }: RollbackOptions & { readonly id?: string | undefined } = {},
): Promise<RollbackReport> {
  const [report] = await rollBackLocked(process, [id], options)
  return report as RollbackReport
}

/**
 * Undoes patches of different base images in one stop, all or none. Those that are not applied are told of as such. A report for each, in the order given;
 * what was done once for all of them (recovery, memory given back) is in the first. Throws as rollbackPatch.
 */
export const rollbackPatches = (process: Process, ids: readonly string[], options: RollbackOptions = {}): Promise<RollbackReport[]> =>
  rollBackLocked(process, [...new Set(ids)], options)

type Id = string | undefined

function rollBackLocked(process: Process, ids: readonly Id[], options: RollbackOptions): Promise<RollbackReport[]> {
  const deadline = deadlineIn(options.timeoutMs ?? 10_000)
  return exclusively(process, deadline, () => rollBackAlone(process, ids, options.to, switchOptions(options, deadline)))
}

async function rollBackAlone(process: Process, ids: readonly Id[], to: number | undefined, how: SwitchOptions): Promise<RollbackReport[]> {
  const { recoveries, found } = await recoverAll(process, how.deadline)
  const { ledgers } = found
  const chosen = ids.map((id) => ({ id, ledger: choose(process, ledgers, id) }))
  const going = chosen.flatMap(({ ledger }): Reverting[] => {
    if (ledger === undefined || ledger.sequence === to) return []
    return [{ ledger, other: to === undefined ? undefined : predecessorOf(process, ledger, ledgers, to) }]
  })
  const sides = going.flatMap(({ ledger, other }) => (other === undefined ? [ledger] : [ledger, other]))
  requireConsistency(how.consistency, sides.map(sideOf))
  for (const { ledger, other } of going) requireOurBytes(process, ledger, other)
  const { stop, callouts } = going.length === 0 ? NOTHING_DONE : await revertOrRestore(process, going, how)
  const reclaim = going.length === 0 ? NOTHING_RECLAIMED : reclaimAfter(process, stop, ledgers)
  return chosen.map(({ id, ledger }, i) => {
    const once = { recovered: i === 0 ? recoveries : [], reclaim: i === 0 ? reclaim : NOTHING_RECLAIMED }
    const at = going.findIndex((patch) => patch.ledger === ledger)
    const patch = going[at] ?? undoneByRecovery(ledgers, recoveries, id)
    if (patch === undefined) return nothing(process, id, once)
    return { ...report(process, patch, reclaim, once), stop: at < 0 ? undefined : stop, callouts: callouts[at] ?? [] }
  })
}

/** An engine that was cut off while it rolled back has left to recovery what is asked for. */
function undoneByRecovery(ledgers: readonly Ledger[], recovered: readonly Recovery[], id: Id): Reverting | undefined {
  const undone = ledgers.find(
    (ledger) =>
      (id === undefined || ledger.names.id === id) &&
      recovered.some((r) => r.outcome === 'undone' && r.ledger === hexAddress(ledger.address)),
  )
  return undone && { ledger: undone, other: ledgers.find((other) => isInPlace(other) && other.base.address === undone.base.address) }
}

const NOTHING_DONE: Reverted = { stop: undefined, callouts: [] }

type Once = Pick<RollbackReport, 'recovered' | 'reclaim'>

/** `reclaim`: all that was given back. */
const report = (process: Process, { ledger, other }: Reverting, reclaim: ReclaimReport, once: Once): RollbackReport => ({
  pid: process.pid,
  outcome: 'rolled-back',
  id: ledger.names.id,
  to: other && { id: other.names.id, sequence: other.sequence },
  functions: ledger.functions.map((f) => ({ name: f.name, address: hexAddress(f.entryAddress) })),
  stop: undefined,
  callouts: [],
  retired: [
    { address: hexAddress(ledger.image.address), size: ledger.image.size },
    { address: hexAddress(ledger.address), size: ledger.regionSize },
  ].filter(({ address }) => !reclaim.memory.some((gone) => gone.address === address)),
  ...once,
})

const nothing = (process: Process, id: Id, once: Once): RollbackReport => ({
  pid: process.pid,
  outcome: 'nothing-to-roll-back',
  id,
  to: undefined,
  functions: [],
  stop: undefined,
  callouts: [],
  retired: [],
  ...once,
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

async function revertOrRestore(process: Process, going: readonly Reverting[], how: SwitchOptions): Promise<Reverted> {
  const patches = going.map(({ ledger, other }) => ({ ledger, other: other && { ...other, state: 'resuming' as const } }))
  const ledgers = patches.map(({ ledger }) => ledger)
  const resuming = patches.flatMap(({ other }) => other ?? [])
  let reverted = NOTHING_DONE
  try {
    for (const other of resuming) setState(process, other, 'resuming')
    if (ledgers.length > 1 || ledgers.some(({ fellow }) => fellow !== 0n)) tieTogether(process, ledgers)
    for (const ledger of ledgers) setState(process, ledger, 'reverting')
    reverted = await revert(process, patches, how)
    for (const other of resuming) resume(process, other)
    return reverted
  } catch (error) {
    if (await areUndone(process, ledgers, how.deadline)) return reverted
    throw error
  }
}

/** After a failure. Where no entry was put back, the ledgers say `applied` again. Where they cannot, their states tell the next engine. */
async function areUndone(process: Process, ledgers: readonly Ledger[], deadline: Deadline): Promise<boolean> {
  try {
    const { found } = await recoverAll(process, deadline)
    return ledgers.every((ledger) => found.ledgers.some(({ address, state }) => address === ledger.address && state === 'reverted'))
  } catch {
    return false
  }
}
