/** Every byte that hotpatch wrote into a process, compared with what the ledger says. Changes nothing, stops nothing. */
import type { Process } from '../process/contract.ts'
import { findLedgers } from './find-ledgers.ts'
import { isActive, isInterrupted, type Ledger } from './ledger.ts'
import type { LedgerState } from './ledger-format.ts'
import { checkImage, checkProtection, checkStubs, type Finding } from './memory-check.ts'
import { hexAddress, hexBytes, lookAt } from './sites.ts'
import { transition } from './transition.ts'

export interface VerifyReport {
  readonly pid: number
  readonly outcome:
    | 'verified'
    /** Findings, a damaged ledger, or a patch that an engine was cut off in. */
    | 'differs'
    /** No patch is applied. */
    | 'nothing-to-verify'
  readonly patches: readonly {
    readonly id: string
    readonly sequence: number
    readonly state: LedgerState
    /** Bytes of the base image, and bytes of hotpatch's own memory, that were compared. */
    readonly bytesCompared: number
    readonly findings: readonly Finding[]
  }[]
  readonly damaged: readonly { readonly code: string; readonly detail: string }[]
}

export function verifyProcess(process: Process): VerifyReport {
  const regions = process.regions()
  const { ledgers, damaged } = findLedgers(process, regions)
  const patches = ledgers.filter(isActive).map((ledger) => ({
    id: ledger.names.id,
    sequence: ledger.sequence,
    state: ledger.state,
    bytesCompared: bytesOf(ledger),
    // While a step is unfinished, the bytes are between two states and recovery decides.
    findings: isInterrupted(ledger)
      ? []
      : [
          ...checkSites(process, ledger),
          ...checkStubs(process, ledger),
          ...checkImage(process, ledger),
          ...checkProtection(regions, ledger),
        ],
  }))
  const clean = damaged.length === 0 && !ledgers.some(isInterrupted) && patches.every((patch) => patch.findings.length === 0)
  return {
    pid: process.pid,
    outcome: !clean ? 'differs' : patches.length === 0 ? 'nothing-to-verify' : 'verified',
    patches,
    damaged: damaged.map(({ code, detail }) => ({ code, detail })),
  }
}

const checkSites = (process: Process, ledger: Ledger): Finding[] => {
  const { switch: entries, before: pads } = transition(undefined, ledger)
  return lookAt(process, [...entries, ...pads])
    .filter(({ bytes }) => bytes !== 'to')
    .map(
      ({ store, found }): Finding => ({
        what: store.what,
        function: store.function,
        address: hexAddress(store.address),
        expected: hexBytes(store.to),
        found: hexBytes(found),
      }),
    )
}

const bytesOf = (ledger: Ledger): number =>
  ledger.sites.reduce((sum, site) => sum + site.original.length, 0) +
  ledger.functions.length * 16 +
  ledger.segments.reduce((sum, segment) => sum + (segment.pageHashes.length > 0 ? segment.size : 0), 0)
