/**
 * Finding addresses in memory. An address of x64 has 48 bits that count. The middle 32 of them are the same for every 64 KB, so what is
 * looked for are four bytes, at any place: packed structures have pointers at odd places, and some programs keep numbers in the
 * uppermost 16 bits of a pointer. Below 4 GB, where programs at fixed addresses lie, half of those bytes are zero and ordinary numbers
 * look like addresses at odd places: there only multiples of 4 count.
 */
import type { AddressRange, SearchRequest, SearchResult } from './contract.ts'

const UNIT = 0x10000n
const LOW = 1n << 32n
/** Of an address: in front of the four bytes, and all that is looked at. */
const BEFORE = 2
const LENGTH = 6

export class AddressFinder {
  readonly #needles: { readonly bytes: Buffer; readonly unit: bigint; readonly range: AddressRange }[] = []

  constructor(ranges: readonly AddressRange[]) {
    for (const range of ranges)
      for (let unit = range.start / UNIT; unit * UNIT < range.end; unit++) {
        const bytes = Buffer.alloc(4)
        bytes.writeUInt32LE(Number(BigInt.asUintN(32, unit)))
        this.#needles.push({ bytes, unit, range })
      }
  }

  /** Offset of an address in `data`, which lies at `start`; -1: there is none that lies in it whole. */
  find(data: Buffer, start: bigint): number {
    for (const { bytes, unit, range } of this.#needles)
      for (let at = data.indexOf(bytes, BEFORE); at >= 0; at = data.indexOf(bytes, at + 1)) {
        const address = unit * UNIT + BigInt(data.readUInt16LE(at - BEFORE))
        const inPlace = address >= LOW || (start + BigInt(at - BEFORE)) % 4n === 0n
        if (inPlace && address >= range.start && address < range.end) return at - BEFORE
      }
    return -1
  }
}

/** Read at a time. */
const PIECE = 1 << 20

/**
 * Looks through `parts`, which do not overlap and ascend.
 * @param read as much as can be read from an address on, into the buffer; how much that was
 */
export function searchParts(
  { ranges, except, limit }: SearchRequest,
  parts: readonly AddressRange[],
  read: (address: bigint, into: Buffer) => number,
): SearchResult {
  const wanted = parts.flatMap((part) => without(part, except))
  if (wanted.reduce((sum, { start, end }) => sum + Number(end - start), 0) > limit) return 'too-much'
  const finder = new AddressFinder(ranges)
  const buffer = Buffer.alloc(PIECE)
  // Pieces overlap by as much as an address needs.
  for (const { start, end } of wanted)
    for (let at = start; at < end; at += BigInt(PIECE - LENGTH)) {
      const length = Math.min(PIECE, Number(end - at))
      const piece = buffer.subarray(0, length)
      // What cannot be read may hold anything.
      if (read(at, piece) !== length) return { found: at }
      const offset = finder.find(piece, at)
      if (offset >= 0) return { found: at + BigInt(offset) }
    }
  return 'nothing'
}

function without(part: AddressRange, except: readonly AddressRange[]): AddressRange[] {
  let left: AddressRange[] = [part]
  for (const { start, end } of except)
    left = left.flatMap((piece) =>
      piece.end <= start || piece.start >= end
        ? [piece]
        : [
            { start: piece.start, end: start },
            { start: end, end: piece.end },
          ].filter((rest) => rest.start < rest.end),
    )
  return left
}
