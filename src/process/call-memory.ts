/** What a call inside a process needs there: a page of code, and a page with the function's address, its arguments and its result. */

import { viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import { encodeRemoteCallBlock, REMOTE_CALL_BLOCK } from '../machine/call-block.ts'
import type { CallArgument, MapRequest } from './contract.ts'

const PAGE = 0x1000
export const CALL_SIZE = 2 * PAGE
/** Below it is what programs at fixed addresses and 32-bit pointers want. */
const NEAR = 0x1_0000_0000n
const ATTEMPTS = 10

export interface CallMemory {
  /** Where the code begins. */
  readonly code: bigint
  /** Of the REMOTE_CALL_BLOCK. */
  readonly block: bigint
}

/** Maps it somewhere. Throws NO_PLACE and what mapping throws. */
export function mapCall(
  find: (request: { size: number; near: bigint; low: bigint; high: bigint }) => bigint | undefined,
  map: (request: MapRequest) => void,
  code: Uint8Array,
  fn: bigint,
  args: readonly CallArgument[],
): CallMemory {
  for (let attempt = 1; ; attempt++) {
    const address = find({ size: CALL_SIZE, near: NEAR, low: 0n, high: 1n << 47n })
    if (address === undefined) throw new HotpatchError('NO_PLACE', `there are no ${CALL_SIZE} bytes free for a call`)
    const block = address + BigInt(PAGE)
    try {
      map({
        address,
        name: 'hotpatch:call',
        segments: [
          { offset: 0, size: PAGE, protection: 'rx', content: code },
          { offset: PAGE, size: PAGE, protection: 'rw', content: blockPage(block, fn, args) },
        ],
      })
      return { code: address, block }
    } catch (error) {
      if (!(error instanceof HotpatchError) || error.code !== 'PLACE_TAKEN' || attempt === ATTEMPTS) throw error
    }
  }
}

/** The block, and behind it the arguments that are bytes. */
function blockPage(address: bigint, fn: bigint, args: readonly CallArgument[]): Uint8Array {
  const page = new Uint8Array(PAGE)
  let at = Math.ceil(REMOTE_CALL_BLOCK.size / 16) * 16
  const values = args.map((arg) => {
    if (typeof arg === 'bigint') return arg
    const place = at
    at = Math.ceil((at + arg.length) / 16) * 16
    if (at > PAGE) throw new HotpatchError('DEFECT', `the arguments of a call have more than ${PAGE} bytes`)
    page.set(arg, place)
    return address + BigInt(place)
  })
  page.set(encodeRemoteCallBlock(fn, values))
  return page
}

/** What the function returned, from the block's bytes; undefined: it did not return. */
export function resultIn(block: Uint8Array): bigint | undefined {
  const view = viewOf(block)
  return view.getBigUint64(REMOTE_CALL_BLOCK.done, true) === 1n ? view.getBigUint64(REMOTE_CALL_BLOCK.result, true) : undefined
}
