/** What the functions of a patch owe each other at the switch, and who may ask for less. */
import { HotpatchError } from '../errors.ts'

export type Consistency =
  /** Nothing: only that no thread stands in bytes that are rewritten. All functions switch at one instant, whoever is inside them. */
  | 'none'
  /** Each function switches at an instant of its own; where that takes single stores only, no thread is stopped. */
  | 'function'
  /** All functions switch at one instant, and no thread is inside any of them then. */
  | 'patch'

/** One side of a switch: a patch that comes, or one that goes. */
export interface Side {
  readonly id: string
  readonly wholeAtOneInstant: boolean
}

/**
 * A patch that is only right as a whole is so on its way in and on its way out, whichever of the two this switch is for it. Throws
 * CONSISTENCY_REQUIRED.
 */
export function requireConsistency(consistency: Consistency, sides: readonly Side[]): void {
  if (consistency === 'patch') return
  const strict = sides.find((side) => side.wholeAtOneInstant)
  if (strict === undefined) return
  throw new HotpatchError('CONSISTENCY_REQUIRED', `${strict.id} can neither come nor go with --consistency ${consistency}`, {
    facts: { id: strict.id, consistency },
  })
}

export const sideOf = ({ names, wholeAtOneInstant }: { names: { readonly id: string }; wholeAtOneInstant: boolean }): Side => ({
  id: names.id,
  wholeAtOneInstant,
})
