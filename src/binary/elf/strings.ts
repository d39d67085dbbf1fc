/** String tables: names by offset, each decoded once. */
import { HotpatchError } from '../../errors.ts'

/** Gives the zero-terminated name at an offset. Throws TRUNCATED, MALFORMED. */
export type StringTable = (offset: number) => string

/**
 * A string table that knows what honest linkers make: names may share their tails, but all names together are not many times
 * longer than the table. A damaged table whose names all run into one another is refused instead of taking quadratic time.
 */
export function stringTable(data: Uint8Array, what: string): StringTable {
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const known = new Map<number, string>()
  let budget = 32 * data.length + (1 << 20)
  return (offset) => {
    if (offset === 0 && data.length === 0) return ''
    const cached = known.get(offset)
    if (cached !== undefined) return cached
    const end = offset < data.length ? data.indexOf(0, offset) : -1
    if (end < 0) throw new HotpatchError('TRUNCATED', `a name at offset ${offset} of ${what} has no end within ${data.length} bytes`)
    budget -= end - offset
    if (budget < 0) throw new HotpatchError('MALFORMED', `the names of ${what} overlap beyond reason`)
    const name = buffer.toString('latin1', offset, end)
    known.set(offset, name)
    return name
  }
}
