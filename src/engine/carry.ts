/**
 * Variables that a patch brought keep their values in the patch that takes its place. Which variable is which is told by name, file and
 * size; numbers that compilers put into names are no part of them. A name that is not unique in either patch says nothing, so such
 * variables begin anew.
 */
import type { MemoryCopy } from '../process/contract.ts'
import type { LedgerBody, LedgerDatum } from './ledger.ts'

/** What to copy so that `to` goes on where `from` is. */
export function dataToCarry(from: LedgerBody, to: LedgerBody): MemoryCopy[] {
  return carriedData(from, to).map(([old, fresh]) => ({
    from: from.image.address + BigInt(old.rva),
    to: to.image.address + BigInt(fresh.rva),
    length: fresh.size,
  }))
}

export function carriedData(from: LedgerBody, to: LedgerBody): [LedgerDatum, LedgerDatum][] {
  const [before, after] = [byName(from), byName(to)]
  return [...after].flatMap(([key, fresh]): [LedgerDatum, LedgerDatum][] => {
    const old = before.get(key)
    return fresh !== undefined && old !== undefined && old.size === fresh.size ? [[old, fresh]] : []
  })
}

const byName = (ledger: LedgerBody): Map<string, LedgerDatum | undefined> =>
  byUniqueKey(ledger.names.data.filter((datum) => isWritable(ledger, datum)))

/** Variables by what tells them from others in any patch; undefined for a name that several have. */
export function byUniqueKey<V extends { readonly name: string; readonly file: string }>(
  variables: readonly V[],
): Map<string, V | undefined> {
  const found = new Map<string, V | undefined>()
  for (const variable of variables) {
    const key = `${variable.file} ${unnumbered(variable.name)}`
    found.set(key, found.has(key) ? undefined : variable)
  }
  return found
}

/** gcc and clang number variables that are local to functions: `state.1234`, `parse.state.2`. */
const unnumbered = (name: string): string => name.replace(/\.\d+(?=\.|$)/g, '')

const isWritable = ({ segments }: LedgerBody, { rva, size }: LedgerDatum): boolean =>
  size > 0 && segments.some((s) => s.protection === 'rw' && rva >= s.rva && rva + size <= s.rva + s.size)
