/**
 * What an engine left behind that did not finish, and the same thing: what a step that failed leaves behind. The rule is in ledger.ts.
 * Undoing after a failure and after a kill is one code, so it is tested as one.
 */
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'
import { type CalloutReport, callAfter, callUndone } from './callout.ts'
import { type FoundLedgers, findLedgers } from './find-ledgers.ts'
import { guardsFor } from './guards.ts'
import { isInterrupted, type Ledger, type LedgerBody, setState, writeWord } from './ledger.ts'
import type { LedgerState } from './ledger-format.ts'
import { imageIsOurs } from './memory-check.ts'
import { finishReclaiming } from './reclaim.ts'
import type { Deadline } from './retry.ts'
import { foreignBytes, hexAddress, lookAt, type Store } from './sites.ts'
import { isOneStore } from './stores.ts'
import { type SwitchOptions, type SwitchPlan, type SwitchReport, switchWithRetries } from './switch.ts'
import { mergePlans } from './together.ts'
import { type Transition, transition } from './transition.ts'
import { unregister } from './unwind-state.ts'

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
    /** Entries had been changed: what was there before is back, the memory stays mapped. */
    | 'undone'
    /** Another patch stands in its place. */
    | 'superseded'
    /** It is applied again: the patch that was to take its place is undone. */
    | 'resumed'
}

export interface Recovered {
  readonly recoveries: readonly Recovery[]
  /** Every ledger of the process, each at rest and none of them damaged, as it is now. */
  readonly found: FoundLedgers
}

/** What there is to do about an unfinished ledger. */
export type Remedy = 'complete' | 'withdraw' | 'undo' | 'supersede' | 'resume'

/**
 * Brings every ledger of the process to rest. Throws LEDGER_DAMAGED, VERIFY_FAILED (bytes that nobody of
 * hotpatch wrote), BUSY, and what the process throws; then what could not be finished still says so in its state.
 */
export async function recoverAll(process: Process, deadline: Deadline): Promise<Recovered> {
  const recoveries: Recovery[] = []
  for (;;) {
    const { ledgers, damaged } = findLedgers(process)
    const [first] = damaged
    if (first !== undefined) throw first
    const ledger = nextInterrupted(ledgers)
    if (ledger === undefined) return { recoveries, found: { ledgers: finishReclaiming(process, ledgers), damaged } }
    const { address, state, names } = ledger
    if (recoveries.some((done) => done.ledger === hexAddress(address) && done.state === state))
      throw new HotpatchError('DEFECT', `the ledger of ${names.id} does not come to rest: it is ${state} again`)
    recoveries.push({ id: names.id, ledger: hexAddress(address), state, outcome: await bringToRest(process, ledger, ledgers, deadline) })
  }
}

/** What became of a successor decides about its predecessor, so it comes first. */
function nextInterrupted(ledgers: readonly Ledger[]): Ledger | undefined {
  const interrupted = ledgers.filter(isInterrupted)
  return interrupted.find((ledger) => !interrupted.some((other) => other.address === ledger.successor))
}

/** What the next engine will do about it. Changes nothing. `ledger` must be interrupted. */
export function remedyFor(process: Process, ledger: Ledger, ledgers: readonly Ledger[]): Remedy {
  switch (ledger.state) {
    case 'loading':
      return 'withdraw'
    case 'prepared':
      return isUnknown(ledger) ? 'withdraw' : 'undo'
    case 'switching':
    case 'reverting': {
      const states = lookAt(process, switchOf(ledger, ledgers))
      if (states.every(({ bytes }) => bytes === 'to') && fellowsStand(process, ledger, ledgers)) return 'complete'
      // Entries are only ever put back after the state says `reverting`.
      const untouched = ledger.state === 'switching' && states.every(({ bytes }) => bytes === 'from')
      return untouched && isUnknown(ledger) ? 'withdraw' : 'undo'
    }
    default: {
      const successor = successorOf(ledger, ledgers)
      return successor !== undefined && stays(process, successor, ledgers) ? 'supersede' : 'resume'
    }
  }
}

const switchOf = (ledger: Ledger, ledgers: readonly Ledger[]): readonly Store[] => transition(partnerOf(ledger, ledgers), ledger).switch

/** Whether every entry of those that switch in the same stop leads to its patch image. */
function fellowsStand(process: Process, ledger: Ledger, ledgers: readonly Ledger[]): boolean {
  const seen = new Set([0n, ledger.address])
  for (let next = ledger.fellow; !seen.has(next); ) {
    seen.add(next)
    const fellow = ledgers.find(({ address }) => address === next)
    if (fellow === undefined || !stands(process, fellow, ledgers)) return false
    next = fellow.fellow
  }
  return true
}

function stands(process: Process, ledger: Ledger, ledgers: readonly Ledger[]): boolean {
  if (ledger.state === 'applied') return true
  return isSwitching(ledger) && lookAt(process, switchOf(ledger, ledgers)).every(({ bytes }) => bytes === 'to')
}

const isSwitching = ({ state }: Ledger): boolean => state === 'switching' || state === 'reverting'

async function bringToRest(process: Process, ledger: Ledger, ledgers: readonly Ledger[], deadline: Deadline): Promise<Recovery['outcome']> {
  const partner = partnerOf(ledger, ledgers)
  if (partner === undefined && ledger.predecessor !== 0n && ['loading', 'prepared', 'switching'].includes(ledger.state))
    throw new HotpatchError('LEDGER_DAMAGED', `the ledger whose place ${ledger.names.id} was to take is gone from process ${process.pid}`)
  if (ledger.state !== 'loading') requireOurs(process, ledger, partner, successorOf(ledger, ledgers))
  switch (remedyFor(process, ledger, ledgers)) {
    case 'complete':
      if (ledger.calloutState === 'before') callAfter(process, ledger)
      markApplied(process, ledger)
      return 'completed'
    case 'withdraw':
      withdraw(process, ledger, partner)
      return 'withdrawn'
    case 'undo':
      setState(process, ledger, 'reverting')
      // Some functions are switched and some are not: there is no consistency to lose, and none until this is done.
      await revert(process, [{ ledger, other: partner }], { deadline, consistency: 'none' })
      return 'undone'
    case 'supersede':
      sealSuperseded(process, ledger, successorOf(ledger, ledgers))
      return 'superseded'
    case 'resume':
      resume(process, ledger)
      return 'resumed'
  }
}

/** Whether it is in place once everything is at rest. */
function stays(process: Process, ledger: Ledger, ledgers: readonly Ledger[]): boolean {
  if (ledger.state === 'applied' || ledger.state === 'superseded') return true
  return ledger.state !== 'reverted' && remedyFor(process, ledger, ledgers) === 'complete'
}

const successorOf = (ledger: Ledger, ledgers: readonly Ledger[]): Ledger | undefined =>
  ledgers.find((other) => other.address === ledger.successor)

/**
 * What is on the other side of the switch that `ledger` is in: the patch whose place it takes or gives back. undefined: the original
 * program. A predecessor that is at rest has nothing to do with it.
 */
function partnerOf(ledger: Ledger, ledgers: readonly Ledger[]): Ledger | undefined {
  const predecessor = ledgers.find((other) => other.address === ledger.predecessor)
  return predecessor?.state === 'resuming' || predecessor?.state === 'applied' ? predecessor : undefined
}

function requireOurs(process: Process, ledger: Ledger, partner: Ledger | undefined, successor: Ledger | undefined): void {
  const way = ledger.state === 'applied' || ledger.state === 'resuming' ? transition(ledger, successor) : transition(partner, ledger)
  const foreign = lookAt(process, [...way.before, ...way.switch, ...way.after]).filter(({ bytes }) => bytes === 'foreign')
  if (foreign.length > 0) throw foreignBytes(process, ledger, foreign)
}

export function markApplied(process: Process, ledger: LedgerBody): void {
  writeWord(process, ledger, 'switchedAt', BigInt(Date.now()))
  setState(process, ledger, 'applied')
}

/** `old` is out of the way wholly: pads that only it used are taken back. */
export function sealSuperseded(process: Process, old: LedgerBody, successor: LedgerBody | undefined): void {
  writeMissing(process, transition(old, successor).after)
  setState(process, old, 'superseded')
}

/** It is in place again, and nothing is about to take its place. */
export function resume(process: Process, ledger: Ledger): void {
  if (ledger.state !== 'applied') setState(process, ledger, 'applied')
  writeWord(process, ledger, 'successor', 0n)
}

export interface Reverting {
  readonly ledger: Ledger
  /** What is there again; undefined: the original program. */
  readonly other: Ledger | undefined
}

export interface Reverted {
  /** undefined where every entry was back already. */
  readonly stop: SwitchReport | undefined
  /** Of each patch, in the order given. */
  readonly callouts: readonly (readonly CalloutReport[])[]
}

/**
 * Puts back what was before: entries and pointers of all patches while the threads are stopped and none is in what goes, then the pads, to
 * which no way leads any more. The states must be `reverting`; that of the other side, if it is to go on with a patch's values, `resuming`.
 */
export async function revert(process: Process, patches: readonly Reverting[], options: SwitchOptions): Promise<Reverted> {
  const ways = patches.map(({ ledger, other }) => ({ ledger, other, way: transition(ledger, other) }))
  for (const { way } of ways) writeMissing(process, way.before)
  const plans = ways.flatMap(({ ledger, other, way }) => remainingPlan(process, ledger, other, way) ?? [])
  const stop = plans.length === 0 ? undefined : await switchWithRetries(process, mergePlans(plans), options)
  const callouts = ways.map(({ ledger, way }) => {
    writeMissing(process, way.after)
    const told = callUndone(process, ledger)
    markReverted(process, ledger)
    return told
  })
  return { stop, callouts }
}

/** undefined: every entry is back. */
function remainingPlan(process: Process, ledger: Ledger, other: Ledger | undefined, way: Transition): SwitchPlan | undefined {
  const changed = lookAt(process, way.switch).filter(({ bytes }) => bytes !== 'to')
  if (changed.length === 0) return undefined
  const plan = planOf(ledger, other, { ...way, switch: changed.map(({ store }) => store) })
  const whole = changed.every(({ bytes }) => bytes === 'from')
  // Where a switch was cut off, threads have gone on with the old values; only what is asked for takes the new ones back.
  const copies = other?.state === 'resuming' ? plan.copies : []
  return { ...plan, copies, storesSuffice: plan.storesSuffice && whole }
}

/**
 * The switch of a transition. Stores alone suffice where no pads are taken back: a thread may be in one, on its way from the entry to the
 * stub, and they are restored right after.
 */
export const planOf = (from: LedgerBody | undefined, to: LedgerBody | undefined, way: Transition): SwitchPlan => ({
  writes: way.switch.map(({ address, to: bytes }) => ({ address, bytes })),
  copies: way.copies,
  storesSuffice: way.copies.length === 0 && way.after.length === 0 && way.switch.every(isSafeStore),
  ...guardsFor(from, to),
})

const isSafeStore = ({ address, to, safeWhileRunning }: Store): boolean => safeWhileRunning && isOneStore(address, to.length)

export function writeMissing(process: Process, stores: readonly Store[]): void {
  for (const { store, bytes } of lookAt(process, stores)) if (bytes !== 'to') process.write(store.address, store.to)
}

function markReverted(process: Process, ledger: Ledger): void {
  writeWord(process, ledger, 'revertedAt', BigInt(Date.now()))
  setState(process, ledger, 'reverted')
}

/**
 * Whether no thread can know of the image. Where nobody knows whether the unwinders do, it has to stay; so it has to where its callback
 * was called.
 */
const isUnknown = ({ unwindState, calloutState }: Ledger): boolean =>
  (unwindState === 'none' || unwindState === 'registered') && calloutState === 'none'

/** Takes everything away again. Only for a ledger none of whose entries was ever changed: no thread knows the memory. */
function withdraw(process: Process, ledger: Ledger, predecessor: Ledger | undefined): void {
  if (ledger.state !== 'loading') {
    if (ledger.state !== 'prepared') setState(process, ledger, 'prepared')
    if (predecessor?.successor === ledger.address) writeWord(process, predecessor, 'successor', 0n)
    writeMissing(process, transition(ledger, predecessor).after)
    unregister(process, ledger)
    setState(process, ledger, 'loading')
  }
  // While loading, the range may hold nothing, or memory that the process has mapped there since: names or contents tell.
  if (ledger.state !== 'loading' || imageIsOurs(process, ledger)) process.unmap(ledger.image.address, ledger.image.size)
  process.unmap(ledger.address, ledger.regionSize)
}
