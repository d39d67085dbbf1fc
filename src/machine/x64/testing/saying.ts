/** What a frame table says of a place, with nothing of how it is stored; undefined: nothing. */
import { FrameKind, type FrameTable } from '../frames.ts'

export function saying(table: FrameTable, rva: number): unknown {
  const at = table.rowAt(rva)
  const kind = table.kinds[at] as number
  if (kind === FrameKind.none) return undefined
  const operand = table.operands[at] as number
  if (kind === FrameKind.complex) return table.complex[operand]
  // Where the stack ends, nobody asks what was saved.
  return [kind, operand, kind === FrameKind.end ? [] : [...(table.savedSets[table.saved[at] as number] ?? [])]]
}
