/** Telling the target's unwinders of a patch image, and what the ledger remembers of that. */
import type { Process } from '../process/contract.ts'
import { type Ledger, type LedgerBody, setUnwindState, writeWord } from './ledger.ts'

export function register(process: Process, ledger: LedgerBody): void {
  if (ledger.unwind === undefined) return
  setUnwindState(process, ledger, 'registering')
  const registration = process.registerUnwind(ledger.unwind)
  if (registration !== undefined) writeWord(process, ledger, 'unwindRegistration', registration.address)
  setUnwindState(process, ledger, registration === undefined ? 'none' : 'registered')
}

export function unregister(process: Process, ledger: Ledger): void {
  if (ledger.unwindState === 'none' || ledger.unwind === undefined) return
  setUnwindState(process, ledger, 'unregistering')
  process.unregisterUnwind({ kind: ledger.unwind.kind, address: ledger.unwindRegistration })
  setUnwindState(process, ledger, 'none')
}
