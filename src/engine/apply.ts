/** Applying a patch. */
import { HotpatchError } from '../errors.ts'
import type { PatchImage } from '../patch/image.ts'
import type { Process } from '../process/contract.ts'
import { refuse } from './blockers.ts'
import { type CalloutReport, callAfter, callBefore } from './callout.ts'
import { carriedData } from './carry.ts'
import { type Consistency, requireConsistency, type Side, sideOf } from './consistency.ts'
import { type Contents, makeContents } from './contents.ts'
import { type ExamineOptions, examine } from './examine.ts'
import { exclusively } from './exclusive.ts'
import { findLedgers } from './find-ledgers.ts'
import { addressesOf, loadLibraries } from './imports/prepare.ts'
import { type Ledger, type LedgerBody, setState, writeWord } from './ledger.ts'
import type { RedirectKind } from './ledger-format.ts'
import { NOTHING_RECLAIMED, type ReclaimReport, reclaimAfter } from './reclaim.ts'
import { markApplied, planOf, type Recovery, recoverAll, sealSuperseded, writeMissing } from './recover.ts'
import { deadlineIn } from './retry.ts'
import { hexAddress } from './sites.ts'
import { type SwitchOptions, type SwitchReport, switchOptions, switchWithRetries } from './switch.ts'
import { transition } from './transition.ts'
import { register } from './unwind-state.ts'

export interface ApplyOptions extends ExamineOptions {
  /** Milliseconds in which the target has to have a safe moment. */
  readonly timeoutMs?: number
  /** Default: patch. */
  readonly consistency?: Consistency
  /** Threads that are in the way are followed until they have left. */
  readonly waitForReturn?: boolean
}

export interface ApplyReport {
  readonly pid: number
  readonly outcome: 'applied' | 'already-applied'
  readonly id: string
  readonly sequence: number
  readonly base: { readonly name: string; readonly path: string; readonly address: string }
  readonly functions: readonly {
    readonly name: string
    readonly file: string
    readonly address: string
    readonly target: string
    readonly redirect: RedirectKind
  }[]
  /** The patch whose place it took. */
  readonly superseded: Superseded | undefined
  /** undefined where it was applied already. */
  readonly stop: SwitchReport | undefined
  /** What the patch's callback answered, where it has one. */
  readonly callouts: readonly CalloutReport[]
  readonly mappings: readonly { readonly what: 'image' | 'hpat'; readonly address: string; readonly size: number }[]
  /** Libraries that the process has loaded for it. They stay. */
  readonly loaded: readonly string[]
  /** What an engine that was cut off had left, and what became of it. */
  readonly recovered: readonly Recovery[]
  /** Memory of patches before it that nothing leads into any more. */
  readonly reclaim: ReclaimReport
}

export interface Superseded {
  readonly id: string
  readonly sequence: number
  /** Functions that it alone had redirected: they are as they were. */
  readonly restored: readonly string[]
  /** Variables that it had brought, and that keep their values. */
  readonly kept: readonly string[]
}

/** How often a place may be taken by the target between looking for it and mapping it. */
const PLACE_TRIES = 8
/** For undoing what failed. Only a switch that was cut off in its middle needs a stop for that. */
const UNDO_MS = 2000

/**
 * Throws, with every reason in `facts.reasons`: BASE_NOT_MAPPED, BASE_DIFFERS, BASE_AMBIGUOUS, ORIGINAL_BYTES_DIFFER,
 * REDIRECT_REFUSED, IMPORT_MISSING, IMPORT_AMBIGUOUS, LIBRARY_NOT_LOADED, SEQUENCE_NOT_HIGHER, PATCH_ID_TAKEN, NO_PLACE, LEDGER_DAMAGED;
 * CONSISTENCY_REQUIRED; CALLOUT_CANCELLED; BUSY or ENGINE_AT_WORK after the deadline; and what the process
 * throws. Whatever is thrown, what was done is undone, and if even that fails, the ledger says so to the next engine.
 */
export async function applyPatch(process: Process, image: PatchImage, options: ApplyOptions = {}): Promise<ApplyReport> {
  const deadline = deadlineIn(options.timeoutMs ?? 10_000)
  return exclusively(process, deadline, () => applyAlone(process, image, options, switchOptions(options, deadline)))
}

async function applyAlone(process: Process, image: PatchImage, options: ExamineOptions, how: SwitchOptions): Promise<ApplyReport> {
  const recovered = await recoverAll(process, how.deadline)
  const loaded: string[] = []
  for (let tries = 1; ; tries++) {
    const { applied, inPlace, functions, placed, blockers } = examine(process, image, options)
    refuse(process, image.manifest.id, blockers)
    if (applied !== undefined)
      return report(process, 'already-applied', applied, undefined, undefined, { recovered, loaded, reclaim: NOTHING_RECLAIMED })
    requireConsistency(how.consistency, [comingOf(image), ...(inPlace === undefined ? [] : [sideOf(inPlace)])])
    if (placed === undefined) throw new HotpatchError('DEFECT', 'an examination without blockers found no place')
    const { missing } = placed.imports
    if (missing.length > 0) {
      if (loaded.length > 0)
        throw new HotpatchError('LIBRARY_NOT_LOADED', `process ${process.pid} has loaded ${missing.join(', ')} under another name`)
      loadLibraries(process, image, missing)
      loaded.push(...missing)
      continue
    }
    const contents = makeContents(process, image, functions, placed, inPlace, addressesOf(process, placed.imports))
    try {
      const done = await carryOut(process, contents, inPlace, how)
      return report(process, 'applied', contents.ledger, inPlace, done, { recovered, loaded, reclaim: reclaimAfter(process, done.stop) })
    } catch (error) {
      if (!(error instanceof HotpatchError) || error.code !== 'PLACE_TAKEN' || tries === PLACE_TRIES) throw error
    }
  }
}

const comingOf = ({ manifest: { id, consistency } }: PatchImage): Side => ({ id, wholeAtOneInstant: consistency === 'patch' })

interface Done {
  readonly stop: SwitchReport
  readonly callouts: readonly CalloutReport[]
}

/** The order of these steps is what makes an engine's death harmless at any moment; ledger.ts says why. */
async function carryOut(process: Process, contents: Contents, inPlace: Ledger | undefined, how: SwitchOptions): Promise<Done> {
  const { ledger, region, image } = contents
  const way = transition(inPlace, ledger)
  const callouts: CalloutReport[] = []
  process.map(region)
  let stop: SwitchReport | undefined
  try {
    process.map(image)
    setState(process, ledger, 'prepared')
    register(process, ledger)
    writeMissing(process, way.before)
    callouts.push(...callBefore(process, ledger))
    if (inPlace !== undefined) writeWord(process, inPlace, 'successor', ledger.address)
    setState(process, ledger, 'switching')
    stop = await switchWithRetries(process, planOf(inPlace, ledger, way), how)
    callouts.push(...callAfter(process, ledger))
    markApplied(process, ledger)
    if (inPlace !== undefined) sealSuperseded(process, inPlace, ledger)
    return { stop, callouts }
  } catch (error) {
    // The switch may be done, and only the note of it have failed; the second try of that did not.
    if ((await undo(process, ledger, error)) && stop !== undefined) return { stop, callouts }
    throw error
  }
}

/**
 * What the next engine would do; whether the patch is applied then. Where even that fails (the process has gone), the first failure is
 * the one to tell.
 */
async function undo(process: Process, ledger: LedgerBody, failure: unknown): Promise<boolean> {
  try {
    await recoverAll(process, deadlineIn(UNDO_MS))
    return findLedgers(process).ledgers.some(({ address, state }) => address === ledger.address && state === 'applied')
  } catch (error) {
    if (failure instanceof Error && failure.cause === undefined) failure.cause = error
    return false
  }
}

function report(
  process: Process,
  outcome: ApplyReport['outcome'],
  ledger: LedgerBody,
  inPlace: Ledger | undefined,
  done: Done | undefined,
  { recovered, loaded, reclaim }: Pick<ApplyReport, 'recovered' | 'loaded' | 'reclaim'>,
): ApplyReport {
  return {
    pid: process.pid,
    outcome,
    id: ledger.names.id,
    sequence: ledger.sequence,
    base: { name: ledger.names.baseName, path: ledger.names.basePath, address: hexAddress(ledger.base.address) },
    functions: ledger.functions.map((f) => ({
      name: f.name,
      file: f.file,
      address: hexAddress(f.entryAddress),
      target: hexAddress(f.target),
      redirect: f.kind,
    })),
    superseded: inPlace && superseded(inPlace, ledger),
    stop: done?.stop,
    callouts: done?.callouts ?? [],
    mappings: [
      { what: 'image', address: hexAddress(ledger.image.address), size: ledger.image.size },
      { what: 'hpat', address: hexAddress(ledger.address), size: ledger.regionSize },
    ],
    loaded,
    recovered,
    reclaim,
  }
}

const superseded = (old: Ledger, fresh: LedgerBody): Superseded => ({
  id: old.names.id,
  sequence: old.sequence,
  restored: old.functions.filter((f) => !fresh.functions.some((g) => g.entryAddress === f.entryAddress)).map(({ name }) => name),
  kept: carriedData(old, fresh).map(([, { name }]) => name),
})
