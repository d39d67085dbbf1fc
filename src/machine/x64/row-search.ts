/** Finding the row of a place among rows by where they begin, in few steps: by its page first. */

const PAGE_SHIFT = 12
const PAGE = 1 << PAGE_SHIFT

export class RowSearch {
  readonly #starts: Uint32Array
  /** For each page of RVAs the row that holds its first byte, and one more: a search begins between two of them. */
  readonly #pages: Uint32Array

  /** @param starts RVAs, ascending; row i holds up to starts[i + 1] */
  constructor(starts: Uint32Array) {
    this.#starts = starts
    this.#pages = pagesOf(starts)
  }

  /** The last row that begins at or before `rva`; 0 where none does. */
  indexAt(rva: number): number {
    const pages = this.#pages
    const page = rva >>> PAGE_SHIFT
    const low = page < pages.length ? (pages[page] as number) : (pages[pages.length - 1] as number)
    const high = page + 1 < pages.length ? (pages[page + 1] as number) : this.#starts.length - 1
    return rowBetween(this.#starts, low, high, rva)
  }
}

function pagesOf(starts: Uint32Array): Uint32Array {
  const count = starts.length
  const pages = new Uint32Array((count === 0 ? 0 : (starts[count - 1] as number) >>> PAGE_SHIFT) + 2)
  let row = 0
  for (let page = 0; page < pages.length; page++) {
    while (row + 1 < count && (starts[row + 1] as number) <= page * PAGE) row++
    pages[page] = row
  }
  return pages
}

/** Of the rows from `low` to `high`, of which the first holds `rva` if no later one does. */
export function rowBetween(starts: Uint32Array, low: number, high: number, rva: number): number {
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if ((starts[middle] as number) <= rva) low = middle
    else high = middle - 1
  }
  return low
}
