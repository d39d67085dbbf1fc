/** Applying a patch. */
import { HotpatchError } from '../errors.ts'
import type { PatchImage } from '../patch/image.ts'
import type { Process } from '../process/contract.ts'
import { refuse } from './blockers.ts'
import { type Contents, makeContents } from './contents.ts'
import { examine } from './examine.ts'
import { exclusively } from './exclusive.ts'
import type { PlannedFunction } from './functions.ts'
import { applyGuards, guardedName } from './guards.ts'
import { type LedgerBody, setState, setUnwindState, writeWord } from './ledger.ts'
import type { RedirectKind } from './ledger-format.ts'
import { markApplied, type Recovery, recoverAll, recoverAt } from './recover.ts'
import { deadlineIn } from './retry.ts'
import { hexAddress } from './sites.ts'
import { isOneStore } from './stores.ts'
import { type Consistency, type SwitchOptions, type SwitchPlan, type SwitchReport, switchOptions, switchWithRetries } from './switch.ts'

export interface ApplyOptions {
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
  /** undefined where it was applied already. */
  readonly stop: SwitchReport | undefined
  readonly mappings: readonly { readonly what: 'image' | 'hpat'; readonly address: string; readonly size: number }[]
  /** What an engine that was cut off had left, and what became of it. */
  readonly recovered: readonly Recovery[]
}

/** How often a place may be taken by the target between looking for it and mapping it. */
const PLACE_TRIES = 8
/** For undoing what failed. Only a switch that was cut off in its middle needs a stop for that. */
const UNDO_MS = 2000

/**
 * Throws, with every reason in `facts.reasons`: BASE_NOT_MAPPED, BASE_DIFFERS, BASE_AMBIGUOUS, ORIGINAL_BYTES_DIFFER,
 * REDIRECT_REFUSED, ANOTHER_PATCH_ACTIVE, PATCH_ID_TAKEN, NO_PLACE, LEDGER_DAMAGED; BUSY or ENGINE_AT_WORK after the deadline; and what the process
 * throws. Whatever is thrown, what was done is undone, and if even that fails, the ledger says so to the next engine.
 */
export async function applyPatch(process: Process, image: PatchImage, options: ApplyOptions = {}): Promise<ApplyReport> {
  const deadline = deadlineIn(options.timeoutMs ?? 10_000)
  return exclusively(process, deadline, () => applyAlone(process, image, switchOptions(options, deadline)))
}

async function applyAlone(process: Process, image: PatchImage, options: SwitchOptions): Promise<ApplyReport> {
  const recovered = await recoverAll(process, options.deadline)
  for (let tries = 1; ; tries++) {
    const examination = examine(process, image)
    refuse(process, image.manifest.id, examination.blockers)
    const { applied, placed } = examination
    if (applied !== undefined) return report(process, 'already-applied', applied, undefined, recovered)
    if (placed === undefined) throw new HotpatchError('DEFECT', 'an examination without blockers found no place')
    const contents = makeContents(process, image, examination.functions, placed)
    try {
      const stop = await carryOut(process, contents, examination.functions, options)
      return report(process, 'applied', contents.ledger, stop, recovered)
    } catch (error) {
      if (!(error instanceof HotpatchError) || error.code !== 'PLACE_TAKEN' || tries === PLACE_TRIES) throw error
    }
  }
}

/** The order of these steps is what makes an engine's death harmless at any moment; ledger.ts says why. */
async function carryOut(
  process: Process,
  contents: Contents,
  functions: readonly PlannedFunction[],
  options: SwitchOptions,
): Promise<SwitchReport> {
  const { ledger, region, image } = contents
  process.map(region)
  let stop: SwitchReport | undefined
  try {
    process.map(image)
    setState(process, ledger, 'prepared')
    registerUnwind(process, ledger)
    writePads(process, ledger)
    setState(process, ledger, 'switching')
    stop = await switchWithRetries(process, switchPlan(ledger, functions), options)
    markApplied(process, ledger)
    return stop
  } catch (error) {
    const outcome = await undo(process, ledger, error)
    // The switch was done, only the note of it failed, and the second try of that did not.
    if (outcome === 'completed' && stop !== undefined) return stop
    throw error
  }
}

function registerUnwind(process: Process, ledger: LedgerBody): void {
  if (ledger.unwind === undefined) return
  setUnwindState(process, ledger, 'registering')
  const registration = process.registerUnwind(ledger.unwind)
  if (registration !== undefined) writeWord(process, ledger, 'unwindRegistration', registration.address)
  setUnwindState(process, ledger, registration === undefined ? 'none' : 'registered')
}

function writePads(process: Process, ledger: LedgerBody): void {
  for (const site of ledger.sites) if (site.phase === 'prepare') process.write(site.address, site.replacement)
}

function switchPlan(ledger: LedgerBody, functions: readonly PlannedFunction[]): SwitchPlan {
  const entries = ledger.sites.filter((site) => site.phase === 'switch')
  return {
    writes: entries.map((site) => ({ address: site.address, bytes: site.replacement })),
    guards: applyGuards(functions),
    storesSuffice:
      functions.every(({ redirect }) => redirect.safeWhileRunning) &&
      entries.every(({ address, replacement }) => isOneStore(address, replacement.length)),
    functionName: (index) => guardedName(ledger, index),
  }
}

/** What the next engine would do. Where even that fails (the process has gone), the first failure is the one to tell. */
async function undo(process: Process, ledger: LedgerBody, failure: unknown): Promise<Recovery['outcome'] | undefined> {
  try {
    return (await recoverAt(process, ledger.address, deadlineIn(UNDO_MS)))?.outcome
  } catch (error) {
    if (failure instanceof Error && failure.cause === undefined) failure.cause = error
    return undefined
  }
}

function report(
  process: Process,
  outcome: ApplyReport['outcome'],
  ledger: LedgerBody,
  stop: SwitchReport | undefined,
  recovered: readonly Recovery[],
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
    stop,
    mappings: [
      { what: 'image', address: hexAddress(ledger.image.address), size: ledger.image.size },
      { what: 'hpat', address: hexAddress(ledger.address), size: ledger.regionSize },
    ],
    recovered,
  }
}
