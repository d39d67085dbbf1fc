/**
 * Jumps and calls between functions of one section. The assembler settles those itself and leaves no relocation; once the
 * functions are apart, each must be an edge.
 */

import type { CodeReading } from '../../machine/architecture.ts'
import type { EdgeKind } from '../../machine/edges.ts'
import { lowerBound, type Piece } from './pieces.ts'

export interface Crossing {
  /** Of the field, from the start of the section. */
  readonly offset: number
  readonly kind: EdgeKind
  /** What it means, from the start of the section. */
  readonly aim: number
  /** From the field to what the reference counts from. */
  readonly origin: number
}

/**
 * @param relocated offsets of the section's relocated fields, ascending
 * undefined: the pieces can't be parted, since one cannot be decoded, or a field of one byte leads from one to another.
 */
export function crossingsOf(
  content: Uint8Array,
  pieces: readonly Piece[],
  relocated: readonly number[],
  code: CodeReading,
): Crossing[] | undefined {
  const crossings: Crossing[] = []
  for (const { start, end } of pieces) {
    const references = code.outwardReferences(content.subarray(start, end))
    if (references === undefined) return undefined
    for (const { offset, length, kind, target, field, origin } of references) {
      const at = start + offset
      if ((relocated[lowerBound(relocated, at)] ?? Number.POSITIVE_INFINITY) < at + length) continue
      const found = field()
      if (found === undefined) return undefined
      crossings.push({ offset: start + found, kind, aim: start + target, origin: origin(found) })
    }
  }
  const starts = pieces.map((p) => p.start)
  const inPieces = ({ aim }: Crossing): boolean => {
    const holder = pieces[lowerBound(starts, aim + 1) - 1]
    return holder !== undefined && aim < holder.end
  }
  return crossings.every(inPieces) ? crossings : undefined
}
