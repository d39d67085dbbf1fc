/** Whether memory that hotpatch mapped still holds what the ledger says: the patch image's pages, stubs and pointers. */
import { createHash } from 'node:crypto'
import type { Process, Region } from '../process/contract.ts'
import type { Ledger, LedgerFunction } from './ledger.ts'
import { MAPPING_NAME, PAGE, readOrNothing } from './pages.ts'
import { equal, hexAddress, hexBytes } from './sites.ts'

export interface Finding {
  readonly what: 'entry' | 'pad' | 'stub' | 'pointer' | 'image' | 'protection'
  /** The function whose way it is on, or '' where a page holds none. */
  readonly function: string
  readonly address: string
  /** Hexadecimal bytes, a SHA-256 of a page, or a protection. */
  readonly expected: string
  readonly found: string
}

/** How much of the patch image is held in memory at a time. */
const PAGES_AT_ONCE = 256

export const stubAddress = ({ region, stubOffset }: Pick<LedgerFunction, 'region' | 'stubOffset'>): bigint => region + BigInt(stubOffset)

/** What a stub jumps through. */
export const pointerAddress = (f: Pick<LedgerFunction, 'region' | 'stubOffset'>): bigint => stubAddress(f) + BigInt(PAGE)

export const hashPage = (page: Uint8Array): Uint8Array => createHash('sha256').update(page).digest()

/** Whether what lies where the patch image is to be is the patch image, or a part of it: by the system's name of it or by its contents. */
export function imageIsOurs(process: Process, ledger: Ledger): boolean {
  const start = ledger.image.address
  const end = start + BigInt(ledger.image.size)
  const inside = process.regions().filter((region) => region.start < end && region.end > start)
  const named = inside.length > 0 && inside.every((region) => region.name.includes(MAPPING_NAME + ledger.names.id))
  return named || (inside.length > 0 && checkImage(process, ledger).length === 0)
}

export function checkStubs(process: Process, ledger: Ledger): Finding[] {
  return ledger.functions.flatMap((f) => {
    const pointer = new Uint8Array(8)
    new DataView(pointer.buffer).setBigUint64(0, f.target, true)
    return [...compare(process, 'stub', f, stubAddress(f), f.stubCode), ...compare(process, 'pointer', f, pointerAddress(f), pointer)]
  })
}

function compare(process: Process, what: Finding['what'], f: LedgerFunction, at: bigint, expected: Uint8Array): Finding[] {
  const found = readOrNothing(process, at, expected.length)
  if (equal(found, expected)) return []
  return [{ what, function: f.name, address: hexAddress(at), expected: hexBytes(expected), found: hexBytes(found) || 'unmapped' }]
}

export function checkImage(process: Process, ledger: Ledger): Finding[] {
  return ledger.segments.flatMap((segment) => {
    const findings: Finding[] = []
    for (let first = 0; first < segment.pageHashes.length; first += PAGES_AT_ONCE) {
      const expected = segment.pageHashes.slice(first, first + PAGES_AT_ONCE)
      findings.push(...checkPages(process, ledger, segment.rva + first * PAGE, expected))
    }
    return findings
  })
}

function checkPages(process: Process, ledger: Ledger, rva: number, hashes: readonly Uint8Array[]): Finding[] {
  const start = ledger.image.address + BigInt(rva)
  const data = readOrNothing(process, start, hashes.length * PAGE)
  return hashes.flatMap((hash, page): Finding[] => {
    const at = page * PAGE
    const found = data.length === 0 ? 'unmapped' : hexBytes(hashPage(data.subarray(at, at + PAGE)))
    const expected = hexBytes(hash)
    if (found === expected) return []
    const holders = functionsIn(ledger, rva + at, rva + at + PAGE)
    return [{ what: 'image', function: holders.join(', '), address: hexAddress(start + BigInt(at)), expected, found }]
  })
}

const functionsIn = (ledger: Ledger, from: number, to: number): string[] =>
  ledger.functions.filter((f) => f.targetRva < to && f.targetRva + f.targetSize > from).map((f) => f.name)

/** Memory of hotpatch's that is protected otherwise than it mapped it. @param regions as the process has just told them */
export function checkProtection(regions: readonly Region[], ledger: Ledger): Finding[] {
  const stubPages = new Set([...ownStubPages(ledger), ...ledger.functions.map((f) => stubAddress(f) & ~BigInt(PAGE - 1))])
  const expected = [
    { start: ledger.address, size: ledger.pairsOffset, protection: 'r' },
    ...[...stubPages].flatMap((page) => [
      { start: page, size: PAGE, protection: 'rx' },
      { start: page + BigInt(PAGE), size: PAGE, protection: 'r' },
    ]),
    ...ledger.segments.map(({ rva, size, protection }) => ({ start: ledger.image.address + BigInt(rva), size, protection })),
  ]
  return expected.flatMap(({ start, size, protection }): Finding[] => {
    const found = protectionsOf(regions, start, start + BigInt(size))
    return found === protection ? [] : [{ what: 'protection', function: '', address: hexAddress(start), expected: protection, found }]
  })
}

const ownStubPages = ({ address, pairsOffset, pairCount }: Ledger): bigint[] =>
  Array.from({ length: pairCount }, (_, i) => address + BigInt(pairsOffset + i * 2 * PAGE))

/** Of all regions in the range, each once: `rx`, or `rx,unmapped`. */
function protectionsOf(regions: readonly Region[], start: bigint, end: bigint): string {
  const inside = regions.filter((region) => region.start < end && region.end > start)
  const protections = new Set(inside.map((r) => `${r.read ? 'r' : ''}${r.write ? 'w' : ''}${r.execute ? 'x' : ''}` || 'none'))
  let at = start
  for (const region of inside) if (region.start <= at) at = region.end
  if (at < end) protections.add('unmapped')
  return [...protections].join(',')
}
