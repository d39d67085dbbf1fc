/** Randomness that can be had again: the same seed, the same sequence. */

export interface Random {
  /** 0 to 1. */
  next(): number
  /** 0 to `limit` - 1. */
  below(limit: number): number
  of<T>(choices: readonly T[]): T
}

/** mulberry32 */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return { next, below, of: (choices) => choices[below(choices.length)] as (typeof choices)[number] }
}
