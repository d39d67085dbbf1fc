/** What `npm run bench` measures and prints. */

export interface Figure {
  /** What was measured, in words. */
  readonly name: string
  readonly value: number
  readonly unit: 'ns' | 'µs' | 'ms' | 'MB' | '×'
  /** At most this much, where there is such a promise. */
  readonly limit?: number
  /** What the value stands beside: the same work by another program, in the same unit. */
  readonly beside?: { readonly name: string; readonly value: number }
  /** How often it was measured. `value` is the median. */
  readonly runs: number
}

/** The middle value; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const [low = Number.NaN, high = Number.NaN] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]]
  return (low + high) / 2
}
