/**
 * Which instruction holds a field. A PC-relative field of x64 counts from the end of its instruction, and that end need not be
 * the field's: `cmp dword [rip + x], 1` has its immediate behind the displacement.
 *
 * Decoding is linear. Compilers keep jump tables of x64 out of the text, so from a function's start every byte belongs to an
 * instruction; code where that does not hold (hand-written data in text) is refused rather than guessed at.
 */
import { HotpatchError } from '../../errors.ts'
import { decode, encodedFields } from './decode.ts'

interface Linear {
  /** Offsets at which instructions begin, ascending, and one past the last decoded byte as the last entry. */
  readonly boundaries: Uint32Array
  /** Ends of those instructions whose fields were asked for, by the field's offset. */
  readonly ends: Map<number, number>
}

/** Decodings by the buffer they were made from, then by the offset of the first instruction. */
const decodings = new WeakMap<Uint8Array, Map<number, Linear>>()

function linear(code: Uint8Array, start: number): Linear {
  let ofBuffer = decodings.get(code)
  if (ofBuffer === undefined) {
    ofBuffer = new Map()
    decodings.set(code, ofBuffer)
  }
  let found = ofBuffer.get(start)
  if (found === undefined) {
    const { instructions, stoppedAt } = decode(code, start)
    const boundaries = new Uint32Array(instructions.length + 1)
    instructions.forEach((instruction, i) => {
      boundaries[i] = instruction.offset
    })
    boundaries[instructions.length] = stoppedAt ?? code.length
    found = { boundaries, ends: new Map() }
    ofBuffer.set(start, found)
  }
  return found
}

/** Index of the last boundary that is not above `offset`. */
function indexBelow(boundaries: Uint32Array, offset: number): number {
  let low = 0
  let high = boundaries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((boundaries[middle] as number) <= offset) low = middle + 1
    else high = middle
  }
  return low - 1
}

/**
 * The end offset of the instruction that holds the 4-byte field at `fieldOffset`. Both count from the start of `code`, as does
 * `start`, where an instruction is known to begin (a function's entry). `code` must not be changed between calls: its decoding is
 * kept. Throws CODE_UNDECODABLE where no instruction has a 4-byte displacement, immediate or distance exactly there.
 */
export function instructionEnd(code: Uint8Array, fieldOffset: number, start = 0): number {
  const { boundaries, ends } = linear(code, start)
  const known = ends.get(fieldOffset)
  if (known !== undefined) return known
  const index = indexBelow(boundaries, fieldOffset)
  const begin = boundaries[index]
  const end = boundaries[index + 1]
  const decoded = boundaries[boundaries.length - 1] as number
  if (begin === undefined || end === undefined)
    throw new HotpatchError(
      'CODE_UNDECODABLE',
      `no instruction is known at offset ${fieldOffset}: decoding from offset ${start} ended at ${decoded} of ${code.length}`,
    )
  if (!encodedFields(code, begin).some((field) => field.offset === fieldOffset && field.size === 4))
    throw new HotpatchError('CODE_UNDECODABLE', `the instruction at offset ${begin} has no 4-byte field at offset ${fieldOffset}`)
  ends.set(fieldOffset, end)
  return end
}
