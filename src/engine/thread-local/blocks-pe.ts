/**
 * Whether the threads of a process have their copies of a module's block, as Windows' loader gives them: those that run already when it loads the module,
 * and each later one before any of its code runs. Code finds a copy through the thread's vector, by the module's number.
 */
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import type { Process, ThreadSummary } from '../../process/contract.ts'
import { equal } from '../sites.ts'

/** winternl.h's TEB: ThreadLocalStoragePointer, which compilers have in code. phnt's: SameTebFlags. The same for x64 and ARM64. */
const VECTOR = 0x58n
const FLAGS = 0x17een
/** Of threads that ask the loader for nothing. */
const SKIP_LOADER_INIT = 0x4000

export interface ExpectedBlock {
  /** The module's number. */
  readonly index: number
  /** What nobody has changed yet. */
  readonly content: Uint8Array
  readonly alignment: number
}

/** A thread may be ending, or beginning, while it is looked at: so often, and so many milliseconds apart. */
const TRIES = 20
const PAUSE_MS = 5

/** The sentence about a thread that has none; undefined: all have. Throws PROCESS_GONE. */
export function threadWithoutBlock(process: Process, expected: ExpectedBlock): string | undefined {
  for (let tries = 1; ; tries++) {
    const without = process.threads().find((thread) => !hasBlock(process, thread, expected))
    if (without === undefined) return undefined
    if (tries === TRIES) return `its loader gives thread ${without.id} none, or one of other contents`
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS)
  }
}

function hasBlock(process: Process, { teb }: ThreadSummary, { index, content, alignment }: ExpectedBlock): boolean {
  if (teb === undefined) return false
  // One that has not begun gets all its blocks before any code runs on it.
  if (teb === 0n) return true
  try {
    const vector = pointerAt(process, teb + VECTOR)
    // The same; or it has come to its end; or it never asks.
    if (vector === 0n) return (viewOf(process.read(teb + FLAGS, 2)).getUint16(0, true) & SKIP_LOADER_INIT) === 0
    const block = pointerAt(process, vector + 8n * BigInt(index))
    return block !== 0n && block % BigInt(alignment) === 0n && equal(process.read(block, content.length), content)
  } catch (error) {
    if (error instanceof HotpatchError && error.code === 'MEMORY_UNREADABLE') return false
    throw error
  }
}

const pointerAt = (process: Process, address: bigint): bigint => viewOf(process.read(address, 8)).getBigUint64(0, true)
