/** What may be done with a patch and all processes that it is for. Which these are is told by what they map, and by the ledgers that they carry. */
import type { PatchImage } from '../patch/image.ts'
import type { Backend, Process } from '../process/contract.ts'
import { type ApplyOptions, type ApplyReport, applyPatch } from './apply.ts'
import { type CheckReport, checkPatch } from './check.ts'
import { type Everywhere, everywhere, type ReachedEverywhere } from './everywhere.ts'
import type { ExamineOptions } from './examine.ts'
import { findBase, originalMemory } from './find-base.ts'
import { findLedgers } from './find-ledgers.ts'
import { isActive } from './ledger.ts'
import { type RollbackOptions, type RollbackReport, rollbackPatch } from './rollback.ts'
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

export const checkEverywhere = (
  backend: Backend,
  image: PatchImage,
  { name, ...options }: ExamineOptions & WhichProcesses = {},
): Promise<ReachedEverywhere<CheckReport>> =>
  everywhere(backend, { name, concerns: mapping(image), act: (process) => checkPatch(process, image, options), changed: () => false })

/** Every process that carries the patch `id`, finished or not. */
export const rollBackEverywhere = (
  backend: Backend,
  { name, ...options }: RollbackOptions & WhichProcesses & { readonly id: string },
): Promise<ReachedEverywhere<RollbackReport>> =>
  everywhere(backend, {
    name,
    concerns: (process) => carries(process, options.id),
    act: (process) => rollbackPatch(process, options),
    changed: ({ outcome }) => outcome === 'rolled-back',
  })

/** Every process that carries a patch, or the patch `id`. */
export const verifyEverywhere = (
  backend: Backend,
  { name, id }: WhichProcesses & { readonly id?: string | undefined } = {},
): Promise<ReachedEverywhere<VerifyReport>> =>
  everywhere(backend, { name, concerns: (process) => carries(process, id), act: verifyProcess, changed: () => false })

const mapping =
  (image: PatchImage): Everywhere<unknown>['concerns'] =>
  (process) => {
    const base = findBase(process, image, originalMemory(process, findLedgers(process).ledgers))
    if (!('code' in base) || base.code === 'BASE_AMBIGUOUS') return true
    return base.code === 'BASE_DIFFERS' && process.machine === image.machine ? { aside: base.detail } : false
  }

/** A ledger that cannot be read may be any patch's: acting on it says what is wrong. */
function carries(process: Process, id?: string): boolean {
  const { ledgers, damaged } = findLedgers(process)
  return damaged.length > 0 || ledgers.some((ledger) => isActive(ledger) && (id === undefined || ledger.names.id === id))
}
