/** The bytes that a patch writes into the base image and into its pointers: what is there now, and what there should be. */
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'
import type { Ledger } from './ledger.ts'

/** Bytes that are written as one. */
export interface Store {
  readonly what: 'entry' | 'pad' | 'pointer'
  readonly address: bigint
  /** Name of the function that it redirects. */
  readonly function: string
  readonly from: Uint8Array
  readonly to: Uint8Array
  /** It changes a pointer or replaces a single instruction: no thread can be in its middle. */
  readonly safeWhileRunning: boolean
}

export type StoreBytes =
  | 'from'
  | 'to'
  /** The first bytes are the new ones, the rest are the old: a write across a page border was cut off. */
  | 'torn'
  /** Neither: somebody else wrote there. */
  | 'foreign'

export interface StoreState {
  readonly store: Store
  readonly bytes: StoreBytes
  readonly found: Uint8Array
}

export const lookAt = (process: Process, stores: readonly Store[]): StoreState[] =>
  stores.map((store) => {
    const found = process.read(store.address, store.to.length)
    return { store, found, bytes: classify(store, found) }
  })

function classify({ from, to }: Store, found: Uint8Array): StoreBytes {
  if (equal(found, to)) return 'to'
  if (equal(found, from)) return 'from'
  let split = 0
  while (split < found.length && found[split] === to[split]) split++
  for (let i = split; i < found.length; i++) if (found[i] !== from[i]) return 'foreign'
  return 'torn'
}

export const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

export const hexBytes = (data: Uint8Array): string => Buffer.from(data).toString('hex')
export const hexAddress = (address: bigint): string => `0x${address.toString(16)}`

/** One sentence for each store whose bytes are not what hotpatch wrote. */
export const strangeBytes = ({ store, found }: StoreState): string =>
  `at ${hexAddress(store.address)} hotpatch wrote ${hexBytes(store.to)}, now there is ${hexBytes(found)}`

/** The error for bytes that hotpatch did not write, naming each place. */
export function foreignBytes(process: Process, ledger: Ledger, states: readonly StoreState[]): HotpatchError {
  const reasons = states.map((state) => ({
    code: 'VERIFY_FAILED',
    symbol: state.store.function,
    address: hexAddress(state.store.address),
    expected: hexBytes(state.store.to),
    found: hexBytes(state.found),
    detail: strangeBytes(state),
  }))
  const names = [...new Set(reasons.map((reason) => reason.symbol))].join(', ')
  return new HotpatchError(
    'VERIFY_FAILED',
    `bytes of ${names} in process ${process.pid} are not what hotpatch wrote; nothing was changed`,
    {
      facts: { pid: process.pid, id: ledger.names.id, reasons },
    },
  )
}
