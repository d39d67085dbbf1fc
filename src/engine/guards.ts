/** Where no thread may be when one patch, or the original program, gives place to another. */
import type { LedgerBody, LedgerFunction } from './ledger.ts'
import { stubAddress } from './memory-check.ts'
import { STUB_SIZE } from './pages.ts'
import type { Guard } from './quiescence.ts'
import type { Guards } from './stacks/inspection.ts'

export interface NamedGuards {
  readonly guards: Guards
  /** The name of what a guard's index stands for. */
  functionName(index: number): string
}

/**
 * `undefined` is the original program.
 *
 * What `to` alone redirects: the bytes that entries are overwritten in, and every byte of the functions that change. A thread on the first
 * byte of either has executed nothing of it.
 *
 * What `from` leaves: pads that are taken back, since a thread in one would be left between instructions (one at an entry has not yet jumped
 * and finds the original instruction there), and all code that hotpatch has brought with it.
 */
export function guardsFor(from: LedgerBody | undefined, to: LedgerBody | undefined): NamedGuards {
  const names: string[] = []
  const indexOf = (name: string): number => names.push(name) - 1
  const added = only(to, from)
  const left = only(from, to)
  const inPatch = from === undefined ? [] : imageGuards(from, indexOf)
  return {
    guards: {
      instructions: [
        ...added.flatMap((f) => siteGuards(f, 'switch', 1, indexOf)),
        ...left.flatMap((f) => siteGuards(f, 'prepare', 0, indexOf)),
      ],
      frames: [
        ...added.flatMap(({ f }) => functionGuards(f, indexOf(f.name))),
        ...inPatch,
        // A thread in a stub is about to enter the patch image.
        ...left.map(({ f }) => guard(stubAddress(f), 0, STUB_SIZE, indexOf(f.name))),
      ],
    },
    functionName: (index) => names[index] ?? '',
  }
}

interface OfLedger {
  readonly ledger: LedgerBody
  readonly f: LedgerFunction
  readonly index: number
}

/** The functions that `ledger` redirects and `other` does not. */
function only(ledger: LedgerBody | undefined, other: LedgerBody | undefined): OfLedger[] {
  if (ledger === undefined) return []
  const redirected = new Set(other?.functions.map((f) => f.entryAddress))
  return ledger.functions.flatMap((f, index) => (redirected.has(f.entryAddress) ? [] : [{ ledger, f, index }]))
}

const siteGuards = (
  { ledger, f, index }: OfLedger,
  phase: 'switch' | 'prepare',
  start: number,
  indexOf: (name: string) => number,
): Guard[] =>
  ledger.sites
    .filter((site) => site.function === index && site.phase === phase)
    .map(({ address, original }) => guard(address, start, original.length, indexOf(f.name)))

const functionGuards = (f: LedgerFunction, index: number): Guard[] => [
  guard(f.entryAddress, 1, f.size, index),
  // Control comes to a split-off part by a jump from the function: it is always in its middle.
  ...f.fragments.map(({ rva, size }) => guard(f.entryAddress, rva - f.rva, rva - f.rva + size, index)),
]

/** The patch image's code, cut at its functions; what is between them is told by the patch's name. */
function imageGuards(ledger: LedgerBody, indexOf: (name: string) => number): Guard[] {
  const { address } = ledger.image
  const elsewhere = indexOf(`the patch image of ${ledger.names.id}`)
  return ledger.segments.flatMap(({ rva, size, protection }) => {
    if (protection !== 'rx') return []
    const inside = ledger.functions
      .map((f) => ({ start: f.targetRva, end: f.targetRva + f.targetSize, name: f.name }))
      .filter(({ start, end }) => start >= rva && end <= rva + size && end > start)
      .sort((a, b) => a.start - b.start)
    const guards: Guard[] = []
    let at = rva
    for (const { start, end, name } of inside) {
      if (start < at) continue
      guards.push(guard(address, at, start, elsewhere), guard(address, start, end, indexOf(name)))
      at = end
    }
    return [...guards, guard(address, at, rva + size, elsewhere)]
  })
}

const guard = (base: bigint, start: number, end: number, index: number): Guard => ({
  start: base + BigInt(start),
  end: base + BigInt(end),
  function: index,
})
