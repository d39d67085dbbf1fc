/** Finding the ledgers that a process carries, from its memory map alone. */
import { viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import type { Process, Region } from '../process/contract.ts'
import type { Ledger } from './ledger.ts'
import { readLedger } from './ledger-codec.ts'
import { LEDGER_MAGIC } from './ledger-format.ts'
import { MAPPING_NAME, PAGE, readOrNothing } from './pages.ts'

export interface FoundLedgers {
  /** In the order in which they were applied. */
  readonly ledgers: readonly Ledger[]
  /** Ledgers that cannot be trusted, as their errors say. */
  readonly damaged: readonly HotpatchError[]
}

/** A region larger than this that the system does not name as hotpatch's is looked at by its first page alone. */
const SEARCHED = 0x40_0000

/**
 * Every ledger of the process. Costs one look at the memory map and a read for each nameless read-only region, of which an
 * ordinary process has hardly any. @param regions as the process has just told them
 */
export const findLedgers = (process: Process, regions: readonly Region[] = process.regions()): FoundLedgers =>
  readLedgers(
    process,
    regions.flatMap((region) => marksIn(process, region)),
  )

/**
 * Ledgers that were found, as they are now; those that have gone are left out or called damaged. Costs no look at the memory map. Only for an
 * engine that has the lock: there can be no others then but those that it has mapped itself since.
 */
export const readAgain = (process: Process, known: readonly Pick<Ledger, 'address'>[]): FoundLedgers =>
  readLedgers(
    process,
    known.map(({ address }) => address),
  )

function readLedgers(process: Process, addresses: readonly bigint[]): FoundLedgers {
  const ledgers: Ledger[] = []
  const damaged: HotpatchError[] = []
  for (const address of addresses) {
    try {
      const ledger = readLedger(process, address)
      if (ledger !== undefined) ledgers.push(ledger)
    } catch (error) {
      if (!(error instanceof HotpatchError) || error.code === 'PROCESS_GONE') throw error
      damaged.push(error)
    }
  }
  return { ledgers: ledgers.sort(byAge), damaged }
}

const byAge = (a: Ledger, b: Ledger): number => (a.switchedAt || Infinity) - (b.switchedAt || Infinity) || Number(a.address - b.address)

/**
 * The addresses in `region` at which a ledger may begin. A ledger is the start of its region unless the system has joined its pages
 * with like pages of a neighbour; and it may still be writable if an engine died while it mapped it.
 */
function marksIn(process: Process, region: Region): bigint[] {
  const ours = region.name.includes(MAPPING_NAME)
  if (!region.read || region.execute || (region.name !== '' && !ours)) return []
  const size = Number(region.end - region.start)
  const everyPage = !region.write && (ours || size <= SEARCHED)
  const data = readOrNothing(process, region.start, everyPage ? size : 8)
  const view = viewOf(data)
  const marks: bigint[] = []
  for (let at = 0; at + 8 <= data.length; at += PAGE) if (isMark(view, at)) marks.push(region.start + BigInt(at))
  return marks
}

const MARK = Buffer.from(LEDGER_MAGIC, 'latin1').readBigUInt64LE()

const isMark = (view: DataView, at: number): boolean => view.getBigUint64(at, true) === MARK
