/**
 * What calls inside a process need there: a page of code, and behind it pages with the function's address, its arguments and its result. Calls one after the other
 * share it: on Linux every mapping and unmapping stops a thread of the process.
 */

import { viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import { encodeRemoteCallBlock, REMOTE_CALL_BLOCK } from '../machine/call-block.ts'
import type { CallArgument, CallInside, MapRequest } from './contract.ts'
import type { PlaceRequest } from './place.ts'

const CODE_SIZE = 0x1000
const BLOCK_SIZE = 0x4000
const SIZE = CODE_SIZE + BLOCK_SIZE
/** Below it is what programs at fixed addresses and 32-bit pointers want. */
const NEAR = 0x1_0000_0000n
const ATTEMPTS = 10

/** How the memory of a process is come by. */
export interface CallHost {
  /** Calls the function that the block at its argument names, and notes there what that returned. */
  readonly code: Uint8Array
  findPlace(request: PlaceRequest): bigint | undefined
  map(request: MapRequest): void
  unmap(address: bigint, size: number): void
  read(address: bigint, length: number): Uint8Array
  write(address: bigint, bytes: Uint8Array): void
}

/** A call that is set up. */
export interface PreparedCall {
  /** Where the code begins. */
  readonly code: bigint
  /** Of the REMOTE_CALL_BLOCK. */
  readonly block: bigint
}

export class CallMemory {
  readonly #host: CallHost
  #address: bigint | undefined

  constructor(host: CallHost) {
    this.#host = host
  }

  /** Throws NO_PLACE, and what mapping and writing throw. */
  prepare(fn: bigint, args: readonly CallArgument[]): PreparedCall {
    this.#address ??= this.#map()
    const [code, block] = [this.#address, this.#address + BigInt(CODE_SIZE)]
    this.#host.write(block, blockOf(block, fn, args))
    return { code, block }
  }

  /** What the function returned; undefined: it did not return. */
  result({ block }: PreparedCall): bigint | undefined {
    const view = viewOf(this.#host.read(block, REMOTE_CALL_BLOCK.size))
    return view.getBigUint64(REMOTE_CALL_BLOCK.done, true) === 1n ? view.getBigUint64(REMOTE_CALL_BLOCK.result, true) : undefined
  }

  /** A call has not come back and may use it still: it stays where it is, and the next call gets other memory. */
  leave(): void {
    this.#address = undefined
  }

  end(): void {
    if (this.#address !== undefined) this.#host.unmap(this.#address, SIZE)
    this.#address = undefined
  }

  #map(): bigint {
    for (let attempt = 1; ; attempt++) {
      const address = this.#host.findPlace({ size: SIZE, near: NEAR, low: 0n, high: 1n << 47n })
      if (address === undefined) throw new HotpatchError('NO_PLACE', `there are no ${SIZE} bytes free for a call`)
      try {
        this.#host.map({
          address,
          name: 'hotpatch:call',
          segments: [
            { offset: 0, size: CODE_SIZE, protection: 'rx', content: this.#host.code },
            { offset: CODE_SIZE, size: BLOCK_SIZE, protection: 'rw', content: new Uint8Array() },
          ],
        })
        return address
      } catch (error) {
        if (!(error instanceof HotpatchError) || error.code !== 'PLACE_TAKEN' || attempt === ATTEMPTS) throw error
      }
    }
  }
}

/** `Process.calls`. */
export function withCalls<T>(host: CallHost, callWith: (memory: CallMemory) => CallInside, action: (call: CallInside) => T): T {
  const memory = new CallMemory(host)
  const result = orEnd(memory, () => action(callWith(memory)))
  memory.end()
  return result
}

/** What failed first is what is told. */
function orEnd<T>(memory: CallMemory, action: () => T): T {
  try {
    return action()
  } catch (error) {
    try {
      memory.end()
    } catch (second) {
      if (error instanceof Error && error.cause === undefined) error.cause = second
    }
    throw error
  }
}

/** The block, and behind it the arguments that are bytes. */
function blockOf(address: bigint, fn: bigint, args: readonly CallArgument[]): Uint8Array {
  const bytes = new Uint8Array(BLOCK_SIZE)
  let at = aligned(REMOTE_CALL_BLOCK.size)
  const values = args.map((arg) => {
    if (typeof arg === 'bigint') return arg
    const place = at
    at = aligned(at + arg.length)
    if (at > BLOCK_SIZE) throw new HotpatchError('DEFECT', `the arguments of a call have more than ${BLOCK_SIZE} bytes`)
    bytes.set(arg, place)
    return address + BigInt(place)
  })
  bytes.set(encodeRemoteCallBlock(fn, values))
  return bytes.subarray(0, at)
}

const aligned = (offset: number): number => Math.ceil(offset / 16) * 16
