/**
 * Which instruction holds a field. A PC-relative field of x64 counts from the end of its instruction, and that end need not be
 * the field's: `cmp dword [rip + x], 1` has its immediate behind the displacement.
 *
 * Decoding is linear. Compilers keep jump tables of x64 out of the text, so from a function's start every byte belongs to an
 * instruction; code where that does not hold (hand-written data in text) is refused rather than guessed at.
 */
import { HotpatchError } from '../../errors.ts'
import { decode, encodedFields } from './decode.ts'

/** A decoding from one start, as far as it was needed yet. */
interface Linear {
  /** Offsets at which instructions begin, ascending, and where the last of them ends. */
  readonly boundaries: number[]
  /** Nothing more can be decoded: the code ends there, or what follows is no instruction. */
  complete: boolean
  /** Ends of those instructions whose fields were asked for, by the field's offset. */
  readonly ends: Map<number, number>
}

/** Decodings by the buffer they were made from, then by the offset of the first instruction. */
const decodings = new WeakMap<Uint8Array, Map<number, Linear>>()

/** Fields of one function are asked for one after the other: decoding goes ahead of them by so many bytes. */
const STRIDE = 1024

function linearFrom(code: Uint8Array, start: number): Linear {
  let ofBuffer = decodings.get(code)
  if (ofBuffer === undefined) {
    ofBuffer = new Map()
    decodings.set(code, ofBuffer)
  }
  let found = ofBuffer.get(start)
  if (found === undefined) {
    found = { boundaries: [start], complete: false, ends: new Map() }
    ofBuffer.set(start, found)
  }
  return found
}

/** Decodes on until the instruction that holds `offset` is known, or that none is. */
function extend(linear: Linear, code: Uint8Array, offset: number): void {
  const { boundaries } = linear
  const end = boundaries.at(-1) as number
  if (linear.complete || end > offset) return
  const until = Math.min(code.length, Math.max(offset + 1, end + STRIDE))
  const { instructions, stoppedAt } = decode(code, end, until)
  for (const instruction of instructions) boundaries.push(instruction.offset + instruction.length)
  linear.complete = stoppedAt !== undefined || until === code.length
}

/** Index of the last boundary that is not above `offset`. */
function indexBelow(boundaries: readonly number[], offset: number): number {
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
  const linear = linearFrom(code, start)
  const { boundaries, ends } = linear
  const known = ends.get(fieldOffset)
  if (known !== undefined) return known
  extend(linear, code, fieldOffset)
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
