/** Direct references of a piece of code to what lies outside of it: calls, jumps and rip-relative operands. */
import type { OutwardReference } from '../architecture.ts'
import { decode, encodedFields } from './decode.ts'

/** undefined: the code cannot be decoded. */
export function outwardReferences(code: Uint8Array): OutwardReference[] | undefined {
  const { instructions, stoppedAt } = decode(code)
  if (stoppedAt !== undefined) return undefined
  const references: OutwardReference[] = []
  for (const { offset, length, target, ripTarget } of instructions) {
    const aim = target ?? ripTarget
    if (aim === undefined || (aim >= 0 && aim < code.length)) continue
    references.push({
      offset,
      length,
      kind: target === undefined ? 'pcrel32' : 'branch32',
      target: aim,
      field: () => encodedFields(code, offset).find((f) => f.size === 4)?.offset,
      origin: (field) => offset + length - field,
    })
  }
  return references
}
