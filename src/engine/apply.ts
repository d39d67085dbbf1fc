/** Applying a patch. */
import { HotpatchError } from '../errors.ts'
import type { PatchImage } from '../patch/image.ts'
import type { Process } from '../process/contract.ts'
import { refuse } from './blockers.ts'
import { type CalloutReport, callAfter, callBefore } from './callout.ts'
import { carriedData } from './carry.ts'
import { type Consistency, requireConsistency, type Side, sideOf } from './consistency.ts'
import { makeContents } from './contents.ts'
import { type Examination, type ExamineOptions, examine, type Placed } from './examine.ts'
import { exclusively } from './exclusive.ts'
import { findLedgers } from './find-ledgers.ts'
import { addressesOf, loadLibraries } from './imports/prepare.ts'
import { type Ledger, type LedgerBody, setState, tieTogether, writeWord } from './ledger.ts'
import type { RedirectKind } from './ledger-format.ts'
import { NOTHING_RECLAIMED, type ReclaimReport, reclaimAfter } from './reclaim.ts'
import { markApplied, planOf, type Recovery, recoverAll, sealSuperseded, writeMissing } from './recover.ts'
import { deadlineIn } from './retry.ts'
import { hexAddress } from './sites.ts'
import { type SwitchOptions, type SwitchReport, switchOptions, switchWithRetries } from './switch.ts'
import { keptThreadLocals, placeThreadLocals } from './thread-local/places.ts'
import { mergePlans, requireDifferentBases } from './together.ts'
import { type Transition, transition } from './transition.ts'
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
 * REDIRECT_REFUSED, IMPORT_MISSING, IMPORT_AMBIGUOUS, LIBRARY_NOT_LOADED, NO_THREAD_LOCAL, SEQUENCE_NOT_HIGHER, PATCH_ID_TAKEN, NO_PLACE, LEDGER_DAMAGED;
 * CONSISTENCY_REQUIRED; CALLOUT_CANCELLED; BUSY or ENGINE_AT_WORK after the deadline; and what the process
 * throws. Whatever is thrown, what was done is undone, and if even that fails, the ledger says so to the next engine.
 */
export async function applyPatch(process: Process, image: PatchImage, options: ApplyOptions = {}): Promise<ApplyReport> {
  const [report] = await applyPatches(process, [image], options)
  return report as ApplyReport
}

/**
 * Patches for different base images of one process, all or none: all are examined before anything is touched, and all switch in one stop.
 * Those that are applied already stay, whatever becomes of the others. A report for each, in the order given; what was done once for all of
 * them (libraries, recovery, memory given back) is in the first. Throws as applyPatch, and SAME_BASE.
 */
export async function applyPatches(process: Process, images: readonly PatchImage[], options: ApplyOptions = {}): Promise<ApplyReport[]> {
  const deadline = deadlineIn(options.timeoutMs ?? 10_000)
  return exclusively(process, deadline, () => applyAlone(process, images, options, switchOptions(options, deadline)))
}

async function applyAlone(
  process: Process,
  images: readonly PatchImage[],
  options: ExamineOptions,
  how: SwitchOptions,
): Promise<ApplyReport[]> {
  const { recoveries: recovered, found: atRest } = await recoverAll(process, how.deadline)
  const loaded: string[] = []
  let found = atRest
  for (let tries = 1; ; tries++) {
    // The try before this one has had the process load libraries, or has taken back what it had mapped.
    if (tries > 1) found = findLedgers(process)
    const examined = images.map((image) => ({ image, ...examine(process, found, image, options) }))
    for (const { image, blockers } of examined) refuse(process, image.manifest.id, blockers)
    requireDifferentBases(process, examined)
    const coming = examined.filter(({ applied }) => applied === undefined)
    requireConsistency(
      how.consistency,
      coming.flatMap(({ image, inPlace }) => [comingOf(image), ...(inPlace === undefined ? [] : [sideOf(inPlace)])]),
    )
    const missing = coming.map(({ image, placed }) => ({ image, libraries: requirePlaced(placed).imports.missing }))
    if (missing.some(({ libraries }) => libraries.length > 0)) {
      loadMissing(process, missing, loaded)
      continue
    }
    try {
      const done = coming.length === 0 ? undefined : await carryOut(process, coming, options, how)
      const reclaim = done === undefined ? NOTHING_RECLAIMED : reclaimAfter(process, done.stop, [...found.ledgers, ...ledgersOf(done)])
      const once = { recovered, loaded, reclaim }
      return examined.map(({ image, applied }, i) => reportOf(process, image, applied, done, i === 0 ? once : NOTHING_MORE))
    } catch (error) {
      if (!(error instanceof HotpatchError) || error.code !== 'PLACE_TAKEN' || tries === PLACE_TRIES) throw error
    }
  }
}

const comingOf = ({ manifest: { id, consistency } }: PatchImage): Side => ({ id, wholeAtOneInstant: consistency === 'patch' })

type Examined = Examination & { readonly image: PatchImage }

function requirePlaced(placed: Placed | undefined): Placed {
  if (placed === undefined) throw new HotpatchError('DEFECT', 'an examination without blockers found no place')
  return placed
}

/** Throws LIBRARY_NOT_LOADED. */
function loadMissing(
  process: Process,
  missing: readonly { readonly image: PatchImage; readonly libraries: readonly string[] }[],
  loaded: string[],
): void {
  const again = missing.flatMap(({ libraries }) => libraries).filter((name) => loaded.includes(name))
  if (again.length > 0)
    throw new HotpatchError('LIBRARY_NOT_LOADED', `process ${process.pid} has loaded ${again.join(', ')} under another name`)
  for (const { image, libraries } of missing) {
    const wanted = libraries.filter((name) => !loaded.includes(name))
    if (wanted.length === 0) continue
    loadLibraries(process, image, wanted)
    loaded.push(...wanted)
  }
}

interface Coming {
  readonly image: PatchImage
  readonly ledger: LedgerBody
  readonly inPlace: Ledger | undefined
  readonly way: Transition
  readonly callouts: CalloutReport[]
}

interface Done {
  readonly stop: SwitchReport
  readonly patches: readonly Coming[]
}

const ledgersOf = ({ patches }: Done): LedgerBody[] => patches.map(({ ledger }) => ledger)

/** The order of these steps is what makes an engine's death harmless at any moment; ledger.ts says why. */
async function carryOut(process: Process, examined: readonly Examined[], options: ExamineOptions, how: SwitchOptions): Promise<Done> {
  const patches: Coming[] = []
  let stop: SwitchReport | undefined
  try {
    for (const [i, first] of examined.entries()) {
      // What came before it may have taken its place.
      const { image } = first
      prepare(process, i === 0 ? first : examineAnew(process, image, options), patches)
    }
    for (const { ledger, callouts } of patches) callouts.push(...callBefore(process, ledger))
    const ledgers = patches.map(({ ledger }) => ledger)
    if (ledgers.length > 1) tieTogether(process, ledgers)
    for (const { ledger, inPlace } of patches) {
      if (inPlace !== undefined) writeWord(process, inPlace, 'successor', ledger.address)
      setState(process, ledger, 'switching')
    }
    stop = await switchWithRetries(process, mergePlans(patches.map(({ inPlace, ledger, way }) => planOf(inPlace, ledger, way))), how)
    for (const { ledger, inPlace, callouts } of patches) {
      callouts.push(...callAfter(process, ledger))
      markApplied(process, ledger)
      if (inPlace !== undefined) sealSuperseded(process, inPlace, ledger)
    }
    return { stop, patches }
  } catch (error) {
    // The switch may be done, and only the note of it have failed; the second try of that did not.
    if ((await undo(process, patches, error)) && stop !== undefined) return { stop, patches }
    throw error
  }
}

function examineAnew(process: Process, image: PatchImage, options: ExamineOptions): Examined {
  const examined = examine(process, findLedgers(process), image, options)
  refuse(process, image.manifest.id, examined.blockers)
  return { image, ...examined }
}

/** Adds to `patches` as soon as there is anything to undo. */
function prepare(process: Process, { image, functions, inPlace, placed: found }: Examined, patches: Coming[]): void {
  const placed = requirePlaced(found)
  const imports = addressesOf(process, placed.imports)
  const contents = makeContents(process, image, functions, placed, inPlace, imports, placeThreadLocals(process, image, inPlace))
  const { ledger } = contents
  const way = transition(inPlace, ledger)
  process.map(contents.region)
  patches.push({ image, ledger, inPlace, way, callouts: [] })
  process.map(contents.image)
  setState(process, ledger, 'prepared')
  register(process, ledger)
  writeMissing(process, way.before)
}

/**
 * What the next engine would do; whether all patches are applied then, or none is. Where even that fails (the process has gone), the first failure is
 * the one to tell.
 */
async function undo(process: Process, patches: readonly Coming[], failure: unknown): Promise<boolean> {
  if (patches.length === 0) return false
  try {
    const { found } = await recoverAll(process, deadlineIn(UNDO_MS))
    return patches.every(({ ledger }) => found.ledgers.some(({ address, state }) => address === ledger.address && state === 'applied'))
  } catch (error) {
    if (failure instanceof Error && failure.cause === undefined) failure.cause = error
    return false
  }
}

type Once = Pick<ApplyReport, 'recovered' | 'loaded' | 'reclaim'>
const NOTHING_MORE: Once = { recovered: [], loaded: [], reclaim: NOTHING_RECLAIMED }

function reportOf(process: Process, image: PatchImage, applied: Ledger | undefined, done: Done | undefined, once: Once): ApplyReport {
  if (applied !== undefined) return report(process, 'already-applied', applied, once)
  const coming = done?.patches.find((patch) => patch.image === image)
  if (done === undefined || coming === undefined) throw new HotpatchError('DEFECT', `nobody knows what became of ${image.manifest.id}`)
  const { ledger, inPlace, callouts } = coming
  return { ...report(process, 'applied', ledger, once), superseded: inPlace && superseded(inPlace, ledger), stop: done.stop, callouts }
}

function report(process: Process, outcome: ApplyReport['outcome'], ledger: LedgerBody, once: Once): ApplyReport {
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
    superseded: undefined,
    stop: undefined,
    callouts: [],
    mappings: [
      { what: 'image', address: hexAddress(ledger.image.address), size: ledger.image.size },
      { what: 'hpat', address: hexAddress(ledger.address), size: ledger.regionSize },
    ],
    ...once,
  }
}

const superseded = (old: Ledger, fresh: LedgerBody): Superseded => ({
  id: old.names.id,
  sequence: old.sequence,
  restored: old.functions.filter((f) => !fresh.functions.some((g) => g.entryAddress === f.entryAddress)).map(({ name }) => name),
  kept: [...carriedData(old, fresh).map(([, { name }]) => name), ...keptThreadLocals(old, fresh)],
})
