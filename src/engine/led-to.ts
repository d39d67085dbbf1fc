/** Whether anything in a module leads to a place in it, without disassembling what may be no code: never too seldom, sometimes too often. */
import { viewOf } from '../binary/struct.ts'
import { architectureOf } from '../machine/architectures.ts'
import type { Process } from '../process/contract.ts'

/** A stretch of a module. */
export interface Stretch {
  readonly start: bigint
  readonly end: bigint
  readonly execute: boolean
}

/** From the start of a table of distances to an entry of it. */
const LONGEST_TABLE = 1 << 16
const ENTRY = 4

/** Those of `places` to which code, a pointer, or a table of distances that code knows leads. Throws what the process throws. */
export function ledTo(process: Process, stretches: readonly Stretch[], places: ReadonlySet<number>): ReadonlySet<number> {
  if (places.size === 0) return places
  const all = stretches.map(({ start, end, execute }) => ({
    start: Number(start),
    execute,
    bytes: process.read(start, Number(end - start)),
  }))
  const { mayAddress } = architectureOf(process.machine).code
  const byCode = (wanted: ReadonlySet<number>): Set<number> =>
    new Set(all.flatMap(({ start, execute, bytes }) => (execute && wanted.size > 0 ? [...mayAddress(bytes, start, wanted)] : [])))
  const found = byCode(places)
  for (const place of places) {
    const pointer = Buffer.alloc(8)
    pointer.writeBigUInt64LE(BigInt(place))
    if (all.some(({ bytes }) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(pointer))) found.add(place)
  }
  // What a table would begin at if it had a distance to the place: clang makes such of arrays of texts.
  const tables = new Map<number, number[]>()
  const data = all.filter(({ execute }) => !execute)
  for (const { start, bytes } of data) collectTables(bytes, start, places, isWithin(all), tables)
  for (const table of byCode(new Set(tables.keys()))) for (const place of tables.get(table) ?? []) found.add(place)
  return found
}

interface Bytes {
  readonly start: number
  readonly bytes: Uint8Array
}

const isWithin =
  (all: readonly Bytes[]) =>
  (place: number): boolean =>
    all.some(({ start, bytes }) => place >= start && place < start + bytes.length)

/** A table lies in one stretch, and each of its entries up to that for the place leads into the module. */
function collectTables(
  bytes: Uint8Array,
  start: number,
  places: ReadonlySet<number>,
  isInModule: (place: number) => boolean,
  tables: Map<number, number[]>,
): void {
  const view = viewOf(bytes)
  const leadsIn = (table: number, at: number): boolean => {
    for (let entry = table - start; entry < at; entry += ENTRY) if (!isInModule(table + view.getInt32(entry, true))) return false
    return true
  }
  for (let at = 0; at + ENTRY <= bytes.length; at += ENTRY)
    for (const place of places) {
      const table = place - view.getInt32(at, true)
      const distance = start + at - table
      if (table < start || distance < 0 || distance >= LONGEST_TABLE || distance % ENTRY !== 0) continue
      if (leadsIn(table, at)) tables.set(table, [...(tables.get(table) ?? []), place])
    }
}
