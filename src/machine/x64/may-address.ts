/**
 * CodeReading.mayAddress: x64. Code makes the address of what lies in its own module by LEA from the instruction pointer (8D, ModRM with mod 0 and r/m 5, and the
 * distance, which ends the instruction), or, linked for one place below 4 GB, as a number.
 */
import { viewOf } from '../../binary/struct.ts'

const FIELD = 4
const LEA = 0x8d
const FROM_INSTRUCTION_POINTER = 0x05

/** Looked for at every byte: decoding could be led astray by data among the code. */
export function mayAddress(code: Uint8Array, start: number, places: ReadonlySet<number>): Set<number> {
  const found = new Set<number>()
  const isLow = [...places].some((place) => place < 2 ** 32)
  const view = viewOf(code)
  for (let at = 0; at + FIELD <= code.length; at++) {
    const isLea = at >= 2 && code[at - 2] === LEA && ((code[at - 1] as number) & 0xc7) === FROM_INSTRUCTION_POINTER
    if (!isLea && !isLow) continue
    const value = view.getInt32(at, true)
    const made = start + at + FIELD + value
    if (isLea && places.has(made)) found.add(made)
    if (isLow && places.has(value >>> 0)) found.add(value >>> 0)
  }
  return found
}
