/** Where no thread may be when a patch is applied or undone. */
import type { PlannedFunction } from './functions.ts'
import type { Ledger, LedgerBody } from './ledger.ts'
import { PAGE } from './pages.ts'
import type { Guard } from './quiescence.ts'
import type { Guards } from './stacks/inspection.ts'

/**
 * For applying: the bytes that entries are overwritten in, and every byte of the functions that change. A thread on the first byte of
 * a range that is overwritten, or of a function, has executed nothing of it.
 */
export const applyGuards = (functions: readonly PlannedFunction[]): Guards => ({
  instructions: functions.flatMap((f, index) => f.redirect.guard.map(({ start, end }) => guard(f.entryAddress, start + 1, end, index))),
  frames: functions.flatMap((f, index) => [
    guard(f.entryAddress, 1, f.size, index),
    // Control comes to a split-off part by a jump from the function: it is always in its middle.
    ...f.fragments.map(({ rva, size }) => guard(f.entryAddress, rva - f.rva, rva - f.rva + size, index)),
  ]),
})

const guard = (entry: bigint, start: number, end: number, index: number): Guard => ({
  start: entry + BigInt(start),
  end: entry + BigInt(end),
  function: index,
})

/**
 * For undoing: the pads, since a thread in one would be left between instructions (one at an entry has not yet jumped and finds the
 * original instruction there), and all code that hotpatch has brought.
 */
export const undoGuards = (ledger: LedgerBody): Guards => ({
  instructions: ledger.sites
    .filter((site) => site.phase === 'prepare')
    .map((site): Guard => ({ start: site.address, end: site.address + BigInt(site.original.length), function: site.function })),
  frames: [...imageGuards(ledger), ...stubGuards(ledger)],
})

/** The patch image's code, cut at its functions; what is between them is nobody's: index NOBODY. */
export function imageGuards(ledger: Pick<LedgerBody, 'image' | 'segments' | 'functions'>): Guard[] {
  const { address } = ledger.image
  return ledger.segments.flatMap(({ rva, size, protection }) => {
    if (protection !== 'rx') return []
    const inside = ledger.functions
      .map((f, index) => ({ start: f.targetRva, end: f.targetRva + f.targetSize, index }))
      .filter(({ start, end }) => start >= rva && end <= rva + size && end > start)
      .sort((a, b) => a.start - b.start)
    const guards: Guard[] = []
    let at = rva
    for (const { start, end, index } of inside) {
      if (start < at) continue
      guards.push(guard(address, at, start, NOBODY), guard(address, start, end, index))
      at = end
    }
    return [...guards, guard(address, at, rva + size, NOBODY)]
  })
}

/** The index of code of the patch image that is not one of the functions that it redirects. */
export const NOBODY = 0x7fff_ffff

/** A thread in a stub is about to enter the patch image. */
const stubGuards = (ledger: LedgerBody): Guard[] =>
  Array.from({ length: ledger.pairCount }, (_, pair) =>
    guard(ledger.address, ledger.pairsOffset + pair * 2 * PAGE, stubsEnd(ledger, pair), NOBODY),
  )

const stubsEnd = (ledger: LedgerBody, pair: number): number => ledger.pairsOffset + pair * 2 * PAGE + PAGE

/** The name of what a guard's index stands for. */
export const guardedName = (ledger: Pick<Ledger, 'functions'>, index: number): string =>
  ledger.functions[index]?.name ?? (index === NOBODY ? 'the patch image' : '')
