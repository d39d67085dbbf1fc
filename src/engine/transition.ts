/**
 * What leads from one patch of a base image to another, from the original program to a patch, or back: single stores, each with the bytes
 * before and after. Every way is one of these, so applying, superseding, rolling back and taking back what was cut off are one code.
 *
 *     only the new patch redirects it     pad before the switch, entry in the switch
 *     only the old patch redirects it     entry in the switch, pad after it
 *     both do                             no code: the pointer behind the stub that stands already
 */
import { HotpatchError } from '../errors.ts'
import type { MemoryCopy } from '../process/contract.ts'
import { dataToCarry } from './carry.ts'
import type { LedgerBody, LedgerFunction, Site } from './ledger.ts'
import { pointerAddress } from './memory-check.ts'
import type { Store } from './sites.ts'

export interface Transition {
  /** Written before the switch: no way leads to these bytes yet. */
  readonly before: readonly Store[]
  /** Written while all threads stand still. */
  readonly switch: readonly Store[]
  /** Written after it: no way leads to these bytes any more. */
  readonly after: readonly Store[]
  /** Values of variables that both patches have, to be copied at the switch. */
  readonly copies: readonly MemoryCopy[]
}

/** `undefined` is the original program. Throws DEFECT for two ledgers that are not of one chain. */
export function transition(from: LedgerBody | undefined, to: LedgerBody | undefined): Transition {
  const [old, fresh] = [redirects(from), redirects(to)]
  const before: Store[] = []
  const inSwitch: Store[] = []
  const after: Store[] = []
  for (const [entry, { f, pads, entries }] of fresh) {
    const standing = old.get(entry)
    if (standing !== undefined) inSwitch.push(...repointed(standing.f, f))
    else {
      before.push(...pads.map((site) => replacing('pad', f, site)))
      inSwitch.push(...entries.map((site) => replacing('entry', f, site)))
    }
  }
  for (const [entry, { f, pads, entries }] of old) {
    if (fresh.has(entry)) continue
    inSwitch.push(...entries.map((site) => restoring('entry', f, site)))
    after.push(...pads.map((site) => restoring('pad', f, site)))
  }
  return { before, switch: inSwitch, after, copies: from && to ? dataToCarry(from, to) : [] }
}

/** Everything that a patch has written where it is applied: entries, pads, pointers. All of it is new where nobody else wrote there. */
export function wholeOf(ledger: LedgerBody): Store[] {
  const way = transition(undefined, ledger)
  const pointers = ledger.functions.map((f): Store => {
    const pointer = pointerBytes(f.target)
    return { what: 'pointer', address: pointerAddress(f), function: f.name, from: pointer, to: pointer, safeWhileRunning: true }
  })
  return [...way.switch, ...way.before, ...pointers]
}

interface Redirect {
  readonly f: LedgerFunction
  readonly pads: readonly Site[]
  readonly entries: readonly Site[]
}

function redirects(ledger: LedgerBody | undefined): Map<bigint, Redirect> {
  const sites = new Map<number, Site[]>()
  for (const site of ledger?.sites ?? []) sites.get(site.function)?.push(site) ?? sites.set(site.function, [site])
  return new Map(
    (ledger?.functions ?? []).map((f, index) => {
      const own = sites.get(index) ?? []
      const ofPhase = (phase: Site['phase']) => own.filter((site) => site.phase === phase)
      return [f.entryAddress, { f, pads: ofPhase('prepare'), entries: ofPhase('switch') }]
    }),
  )
}

const replacing = (what: Store['what'], f: LedgerFunction, { address, original, replacement }: Site): Store => ({
  what,
  address,
  function: f.name,
  from: original,
  to: replacement,
  safeWhileRunning: f.safeWhileRunning,
})

const restoring = (what: Store['what'], f: LedgerFunction, { address, original, replacement }: Site): Store => ({
  what,
  address,
  function: f.name,
  from: replacement,
  to: original,
  // What stands there is one jump.
  safeWhileRunning: true,
})

function repointed(old: LedgerFunction, fresh: LedgerFunction): Store[] {
  const address = pointerAddress(fresh)
  if (address !== pointerAddress(old)) throw new HotpatchError('DEFECT', `two patches redirect ${fresh.name} through different stubs`)
  return [
    {
      what: 'pointer',
      address,
      function: fresh.name,
      from: pointerBytes(old.target),
      to: pointerBytes(fresh.target),
      safeWhileRunning: true,
    },
  ]
}

export function pointerBytes(pointer: bigint): Uint8Array {
  const data = new Uint8Array(8)
  new DataView(data.buffer).setBigUint64(0, pointer, true)
  return data
}
