/** The bytes of the base image that a patch rewrites: what is there now, and what the ledger says of it. */
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'
import type { Ledger, Site } from './ledger.ts'
import type { SitePhase } from './ledger-format.ts'

export type SiteBytes =
  | 'original'
  | 'replaced'
  /** The first bytes are the replacement's, the rest are original: a write across a page border was cut off. */
  | 'torn'
  /** Neither: somebody else wrote there. */
  | 'foreign'

export interface SiteState {
  readonly site: Site
  readonly bytes: SiteBytes
  readonly found: Uint8Array
}

export function lookAtSites(process: Process, ledger: Ledger, phase: SitePhase): SiteState[] {
  return ledger.sites
    .filter((site) => site.phase === phase)
    .map((site) => {
      const found = process.read(site.address, site.original.length)
      return { site, found, bytes: classify(site, found) }
    })
}

function classify(site: Site, found: Uint8Array): SiteBytes {
  if (equal(found, site.replacement)) return 'replaced'
  if (equal(found, site.original)) return 'original'
  const isNew = (i: number) => found[i] === site.replacement[i]
  const isOld = (i: number) => found[i] === site.original[i]
  let split = 0
  while (split < found.length && isNew(split)) split++
  for (let i = split; i < found.length; i++) if (!isOld(i)) return 'foreign'
  return 'torn'
}

export const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

export const hexBytes = (data: Uint8Array): string => Buffer.from(data).toString('hex')
export const hexAddress = (address: bigint): string => `0x${address.toString(16)}`

/** The error for bytes in the base image that hotpatch did not write, naming each place. */
export function foreignBytes(process: Process, ledger: Ledger, states: readonly SiteState[]): HotpatchError {
  const reasons = states.map(({ site, found }) => {
    const symbol = ledger.functions[site.function]?.name ?? ''
    return {
      code: 'VERIFY_FAILED',
      symbol,
      address: hexAddress(site.address),
      expected: hexBytes(site.replacement),
      found: hexBytes(found),
      detail: `at ${hexAddress(site.address)} hotpatch wrote ${hexBytes(site.replacement)}, now there is ${hexBytes(found)}`,
    }
  })
  const names = [...new Set(reasons.map((reason) => reason.symbol))].join(', ')
  return new HotpatchError(
    'VERIFY_FAILED',
    `bytes of ${names} in process ${process.pid} are not what hotpatch wrote; nothing was changed`,
    {
      facts: { pid: process.pid, id: ledger.names.id, reasons },
    },
  )
}
