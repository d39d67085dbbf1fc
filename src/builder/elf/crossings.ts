/**
 * Jumps and calls between functions of one section. The assembler settles those itself and leaves no relocation; once the
 * functions are apart, each must be an edge.
 */

import type { EdgeKind } from '../../machine/edges.ts'
import { decode, encodedFields } from '../../machine/x64/decode.ts'
import { lowerBound, type Piece } from './pieces.ts'

export interface Crossing {
  /** Of the 4-byte field, from the start of the section. */
  readonly offset: number
  readonly kind: EdgeKind
  /** What it means, from the start of the section. */
  readonly aim: number
  /** From the field to the end of its instruction. */
  readonly toEnd: number
}

/**
 * @param relocated offsets of the section's relocated fields, ascending
 * undefined: the pieces can't be parted, since one cannot be decoded, or a field of one byte leads from one to another.
 */
export function crossingsOf(content: Uint8Array, pieces: readonly Piece[], relocated: readonly number[]): Crossing[] | undefined {
  const crossings: Crossing[] = []
  for (const { start, end } of pieces) {
    const code = content.subarray(start, end)
    const { instructions, stoppedAt } = decode(code)
    if (stoppedAt !== undefined) return undefined
    for (const { offset, length, target, ripTarget } of instructions) {
      const aim = target ?? ripTarget
      if (aim === undefined || (aim >= 0 && aim < code.length)) continue
      const at = start + offset
      if ((relocated[lowerBound(relocated, at)] ?? Number.POSITIVE_INFINITY) < at + length) continue
      const field = encodedFields(code, offset).find((f) => f.size === 4)
      if (!field) return undefined
      crossings.push({
        offset: start + field.offset,
        kind: target === undefined ? 'pcrel32' : 'branch32',
        aim: start + aim,
        toEnd: offset + length - field.offset,
      })
    }
  }
  const starts = pieces.map((p) => p.start)
  const inPieces = ({ aim }: Crossing): boolean => {
    const holder = pieces[lowerBound(starts, aim + 1) - 1]
    return holder !== undefined && aim < holder.end
  }
  return crossings.every(inPieces) ? crossings : undefined
}
