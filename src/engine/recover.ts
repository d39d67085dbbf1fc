/**
 * What an engine left behind that did not finish, and the same thing: what a step that failed leaves behind. The rule is in ledger.ts.
 * Undoing after a failure and after a kill is one code, so it is tested as one.
 */
import type { Process } from '../process/contract.ts'
import { findLedgers } from './find-ledgers.ts'
import { guardedName, undoGuards } from './guards.ts'
import { isInterrupted, type Ledger, type LedgerBody, setState, setUnwindState, writeWord } from './ledger.ts'
import { readLedger } from './ledger-codec.ts'
import type { LedgerState } from './ledger-format.ts'
import { imageIsOurs } from './memory-check.ts'
import type { Deadline } from './retry.ts'
import { foreignBytes, hexAddress, lookAtSites, type SiteState } from './sites.ts'
import { isOneStore } from './stores.ts'
import { type SwitchOptions, type SwitchPlan, type SwitchReport, switchWithRetries } from './switch.ts'

export interface Recovery {
  readonly id: string
  /** Address of its ledger. */
  readonly ledger: string
  /** As it was found. */
  readonly state: LedgerState
  readonly outcome: /** Every entry led to the patch already: it is applied. */
    | 'completed'
    /** No entry had been changed: everything is unmapped, as if it had never been. */
    | 'withdrawn'
    /** Entries had been changed: the original bytes are back, the memory stays mapped. */
    | 'undone'
}

/**
 * Brings every ledger of the process to rest, either applied or undone. Throws LEDGER_DAMAGED, VERIFY_FAILED (bytes that nobody of
 * hotpatch wrote), BUSY, and what the process throws; then what could not be finished still says so in its state.
 */
export async function recoverAll(process: Process, deadline: Deadline): Promise<Recovery[]> {
  const { ledgers, damaged } = findLedgers(process)
  const [first] = damaged
  if (first !== undefined) throw first
  const recoveries: Recovery[] = []
  for (const ledger of ledgers) if (isInterrupted(ledger)) recoveries.push(await recover(process, ledger, deadline))
  return recoveries
}

/** As recoverAll for the ledger at `address`; undefined where there is none or it is at rest. */
export async function recoverAt(process: Process, address: bigint, deadline: Deadline): Promise<Recovery | undefined> {
  const ledger = process.regions().some((region) => region.start <= address && address < region.end)
    ? readLedger(process, address)
    : undefined
  return ledger !== undefined && isInterrupted(ledger) ? await recover(process, ledger, deadline) : undefined
}

async function recover(process: Process, ledger: Ledger, deadline: Deadline): Promise<Recovery> {
  return {
    id: ledger.names.id,
    ledger: hexAddress(ledger.address),
    state: ledger.state,
    outcome: await bringToRest(process, ledger, deadline),
  }
}

async function bringToRest(process: Process, ledger: Ledger, deadline: Deadline): Promise<Recovery['outcome']> {
  if (ledger.state === 'loading') return withdraw(process, ledger)
  const entries = lookAtSites(process, ledger, 'switch')
  const foreign = [...entries, ...lookAtSites(process, ledger, 'prepare')].filter((state) => state.bytes === 'foreign')
  if (foreign.length > 0) throw foreignBytes(process, ledger, foreign)
  if (ledger.state === 'prepared') return withdraw(process, ledger)
  if (entries.every((entry) => entry.bytes === 'replaced')) {
    markApplied(process, ledger)
    return 'completed'
  }
  // Entries are only ever put back after the state says `reverting`.
  if (ledger.state === 'switching' && entries.every((entry) => entry.bytes === 'original')) return withdraw(process, ledger)
  setState(process, ledger, 'reverting')
  // Some functions are switched and some are not: there is no consistency to lose, and none until this is done.
  await revert(process, ledger, { deadline, consistency: 'none' })
  return 'undone'
}

export function markApplied(process: Process, ledger: LedgerBody): void {
  writeWord(process, ledger, 'switchedAt', BigInt(Date.now()))
  setState(process, ledger, 'applied')
}

/**
 * Puts the original bytes back: entries while the threads are stopped and none is in them or in a pad, then the pads, to which no way
 * leads any more. The state must be `reverting`. Returns undefined where every entry was original already.
 */
export async function revert(process: Process, ledger: Ledger, options: SwitchOptions): Promise<SwitchReport | undefined> {
  const changed = lookAtSites(process, ledger, 'switch').filter((entry) => entry.bytes !== 'original')
  const report = changed.length === 0 ? undefined : await switchWithRetries(process, revertPlan(ledger, changed), options)
  restorePads(process, ledger)
  markReverted(process, ledger)
  return report
}

/**
 * Stores alone suffice where there are no pads: what stands at an entry is one instruction. A thread may be in a pad, on its way from the
 * entry to the stub, and pads are restored right after.
 */
const revertPlan = (ledger: Ledger, changed: readonly SiteState[]): SwitchPlan => ({
  writes: changed.map(({ site }) => ({ address: site.address, bytes: site.original })),
  guards: undoGuards(ledger),
  storesSuffice:
    ledger.sites.every((site) => site.phase === 'switch') &&
    changed.every(({ site, bytes }) => bytes === 'replaced' && isOneStore(site.address, site.original.length)),
  functionName: (index: number) => guardedName(ledger, index),
})

function restorePads(process: Process, ledger: Ledger): void {
  for (const { site, bytes } of lookAtSites(process, ledger, 'prepare'))
    if (bytes !== 'original') process.write(site.address, site.original)
}

function markReverted(process: Process, ledger: Ledger): void {
  writeWord(process, ledger, 'revertedAt', BigInt(Date.now()))
  setState(process, ledger, 'reverted')
}

/** Takes everything away again. Only for a ledger none of whose entries was ever changed: no thread knows the memory. */
function withdraw(process: Process, ledger: Ledger): Recovery['outcome'] {
  if (ledger.state !== 'loading') {
    if (ledger.state !== 'prepared') setState(process, ledger, 'prepared')
    restorePads(process, ledger)
    if (!unregister(process, ledger)) {
      markReverted(process, ledger)
      return 'undone'
    }
    setState(process, ledger, 'loading')
  }
  // While loading, the range may hold nothing, or memory that the process has mapped there since: names or contents tell.
  if (ledger.state !== 'loading' || imageIsOurs(process, ledger)) process.unmap(ledger.image.address, ledger.image.size)
  process.unmap(ledger.address, ledger.regionSize)
  return 'withdrawn'
}

/** false: nobody knows whether the unwinders know the image, so it has to stay. */
function unregister(process: Process, ledger: Ledger): boolean {
  if (ledger.unwindState === 'none') return true
  if (ledger.unwindState !== 'registered' || ledger.unwind === undefined) return false
  setUnwindState(process, ledger, 'unregistering')
  process.unregisterUnwind({ kind: ledger.unwind.kind, address: ledger.unwindRegistration })
  setUnwindState(process, ledger, 'none')
  return true
}
