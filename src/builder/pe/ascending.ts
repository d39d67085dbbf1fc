/** Searches in ascending arrays of numbers. */

/** Index of the last element that is at most `value`, -1 where there is none. */
export function indexAtMost(ascending: ArrayLike<number>, value: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ascending[middle] as number) <= value) low = middle + 1
    else high = middle
  }
  return low - 1
}
