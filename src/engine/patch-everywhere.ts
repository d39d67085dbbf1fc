/** What may be done with a patch and all processes that it is for. Which these are is told by what they map, and by the ledgers that they carry. */
import type { PatchImage } from '../patch/image.ts'
import type { Backend, Process } from '../process/contract.ts'
import { type ApplyOptions, type ApplyReport, applyPatch, applyPatches } from './apply.ts'
import { type CheckedTogether, type CheckReport, checkedTogether, checkPatch, checkPatches } from './check.ts'
import { type Everywhere, everywhere, type ReachedEverywhere } from './everywhere.ts'
import type { ExamineOptions } from './examine.ts'
import { findBase, originalMemory } from './find-base.ts'
import { findLedgers } from './find-ledgers.ts'
import type { ReadMemory } from './identity.ts'
import { isActive } from './ledger.ts'
import { type RollbackOptions, type RollbackReport, rollbackPatch, rollbackPatches } from './rollback.ts'
import { type VerifyReport, verifyProcess } from './verify.ts'

export interface WhichProcesses {
  /** Processes of other names are left alone. */
  readonly name?: string | undefined
}

/** Every process that maps the base image; those that map another build of it are told of as asides. Each has the whole of `timeoutMs` for itself. */
export const applyEverywhere = (
  backend: Backend,
  image: PatchImage,
  { name, ...options }: ApplyOptions & WhichProcesses = {},
): Promise<ReachedEverywhere<ApplyReport>> =>
  everywhere(backend, {
    name,
    concerns: mapping(image),
    act: (process) => applyPatch(process, image, options),
    changed: ({ outcome }) => outcome === 'applied',
  })

/** Patches of one update: each process gets those whose base images it maps, all of these or none. */
export const applyAllEverywhere = (
  backend: Backend,
  images: readonly PatchImage[],
  { name, ...options }: ApplyOptions & WhichProcesses = {},
): Promise<ReachedEverywhere<AppliedTogether>> =>
  everywhere(backend, {
    name,
    concerns: (process) => concernsAny(process, images),
    act: async (process) => together(await applyPatches(process, concerned(process, images), options)),
    changed: ({ outcome }) => outcome === 'applied',
  })

export interface AppliedTogether {
  /** already-applied: all of them were. */
  readonly outcome: ApplyReport['outcome']
  readonly patches: readonly ApplyReport[]
}

export const together = (patches: readonly ApplyReport[]): AppliedTogether => ({
  outcome: patches.some(({ outcome }) => outcome === 'applied') ? 'applied' : 'already-applied',
  patches,
})

type Concern = ReturnType<Everywhere<unknown>['concerns']>

/** One build of a library with another build of its program is not what the update is for: such a process is refused, not patched in part. */
function concerned(process: Process, images: readonly PatchImage[]): PatchImage[] {
  const read = originalOf(process)
  return images.filter((image) => concernOf(process, image, read) !== false)
}

function concernsAny(process: Process, images: readonly PatchImage[]): Concern {
  const read = originalOf(process)
  const found = images.map((image) => concernOf(process, image, read))
  if (found.includes(true)) return true
  return found.find((concern) => concern !== false) ?? false
}

export const checkEverywhere = (
  backend: Backend,
  image: PatchImage,
  { name, ...options }: ExamineOptions & WhichProcesses = {},
): Promise<ReachedEverywhere<CheckReport>> =>
  everywhere(backend, { name, concerns: mapping(image), act: (process) => checkPatch(process, image, options), changed: () => false })

/** Patches of one update: of each process those whose base images it maps. */
export const checkAllEverywhere = (
  backend: Backend,
  images: readonly PatchImage[],
  { name, ...options }: ExamineOptions & WhichProcesses = {},
): Promise<ReachedEverywhere<CheckedTogether>> =>
  everywhere(backend, {
    name,
    concerns: (process) => concernsAny(process, images),
    act: (process) => checkedTogether(checkPatches(process, concerned(process, images), options)),
    changed: () => false,
  })

/** Every process that carries the patch `id`, finished or not. */
export const rollBackEverywhere = (
  backend: Backend,
  { name, id, ...options }: RollbackOptions & WhichProcesses & { readonly id: string },
): Promise<ReachedEverywhere<RollbackReport>> =>
  everywhere(backend, {
    name,
    concerns: (process) => carries(process, [id]),
    act: (process) => rollbackPatch(process, { ...options, id }),
    changed: ({ outcome }) => outcome === 'rolled-back',
  })

/** Every process that carries one of the patches: those that it carries are undone in one stop, all or none. */
export const rollBackAllEverywhere = (
  backend: Backend,
  { name, ids, ...options }: RollbackOptions & WhichProcesses & { readonly ids: readonly string[] },
): Promise<ReachedEverywhere<RolledBackTogether>> =>
  everywhere(backend, {
    name,
    concerns: (process) => carries(process, ids),
    act: async (process) => rolledBackTogether(await rollbackPatches(process, ids, options)),
    changed: ({ outcome }) => outcome === 'rolled-back',
  })

export interface RolledBackTogether {
  /** nothing-to-roll-back: none of them was applied. */
  readonly outcome: RollbackReport['outcome']
  readonly patches: readonly RollbackReport[]
}

export const rolledBackTogether = (patches: readonly RollbackReport[]): RolledBackTogether => ({
  outcome: patches.some(({ outcome }) => outcome === 'rolled-back') ? 'rolled-back' : 'nothing-to-roll-back',
  patches,
})

/** Every process that carries a patch, or the patch `id`. */
export const verifyEverywhere = (
  backend: Backend,
  { name, id }: WhichProcesses & { readonly id?: string | undefined } = {},
): Promise<ReachedEverywhere<VerifyReport>> =>
  everywhere(backend, {
    name,
    concerns: (process) => carries(process, id === undefined ? undefined : [id]),
    act: verifyProcess,
    changed: () => false,
  })

const mapping = (image: PatchImage) => (process: Process) => concernOf(process, image, originalOf(process))

/** Ledgers are looked for where there is a text to read: most processes of a machine map nothing that comes so far. */
function originalOf(process: Process): ReadMemory {
  let original: ReadMemory | undefined
  return (address, length) => {
    original ??= originalMemory(process, findLedgers(process).ledgers)
    return original(address, length)
  }
}

function concernOf(process: Process, image: PatchImage, read: ReadMemory): Concern {
  const base = findBase(process, image, read)
  if (!('code' in base) || base.code === 'BASE_AMBIGUOUS') return true
  return base.code === 'BASE_DIFFERS' && process.machine === image.machine ? { aside: base.detail } : false
}

/** Any patch, or one of `ids`. A ledger that cannot be read may be any patch's: acting on it says what is wrong. */
function carries(process: Process, ids?: readonly string[]): boolean {
  const { ledgers, damaged } = findLedgers(process)
  return damaged.length > 0 || ledgers.some((ledger) => isActive(ledger) && (ids === undefined || ids.includes(ledger.names.id)))
}
