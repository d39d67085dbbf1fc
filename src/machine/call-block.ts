/** What a call inside a process hands to its code and gets back: one layout for every processor. */
import { HotpatchError } from '../errors.ts'

/** What the code of a remote call reads and writes: offsets in bytes, every field a u64. */
export const REMOTE_CALL_BLOCK = {
  /** In: the function's address. */
  fn: 0x00,
  /** In: eight integer or pointer arguments, 8 bytes apart, of which code for System V's convention hands over the first four. */
  args: 0x08,
  /** Out: what the function returned, the whole register. */
  result: 0x48,
  /** Out: 1 once `result` is there. */
  done: 0x50,
  size: 0x58,
} as const

const ARGUMENTS = 8

/** The bytes of a REMOTE_CALL_BLOCK before the call. */
export function encodeRemoteCallBlock(fn: bigint, args: readonly bigint[]): Uint8Array {
  if (args.length > ARGUMENTS) throw new HotpatchError('DEFECT', `a remote call has at most ${ARGUMENTS} arguments, not ${args.length}`)
  const block = new Uint8Array(REMOTE_CALL_BLOCK.size)
  const view = new DataView(block.buffer)
  view.setBigUint64(REMOTE_CALL_BLOCK.fn, fn, true)
  args.forEach((arg, i) => {
    view.setBigUint64(REMOTE_CALL_BLOCK.args + 8 * i, BigInt.asUintN(64, arg), true)
  })
  return block
}
