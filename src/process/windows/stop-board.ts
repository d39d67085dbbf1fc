/**
 * What an engine tells its watchdog: which threads it holds suspended, at every instant. One block of memory that both see; each change is
 * one store, so a stop pays nothing for it.
 *
 * A thread's mark is `doubtful` while a call that changes its suspend count is under way. If the engine dies in there, the count that
 * the thread had before says whether the call was made.
 */
import { struct, u32, u64 } from '../../binary/struct.ts'
import { wordsAt } from '../../os/windows/library.ts'

export const BOARD_HEADER = struct('stop board', {
  /** 1: the watchdog watches. */
  watching: u32,
  targetPid: u32,
  /** When the target was created, in units of 100 ns since 1601: another process may get its pid. */
  targetCreated: u64,
})

/** u32s of a thread: id, mark, and the suspend count that it has without us. */
const ENTRY_WORDS = 4
const [ID, MARK_AT, BASELINE] = [0, 1, 2] as const
const HEADER_WORDS = BOARD_HEADER.size / 4

export const MARK = { free: 0, doubtful: 1, held: 2 } as const

/** As many threads as one stop may have. */
export const BOARD_THREADS = 0x1_0000
export const BOARD_SIZE = BOARD_HEADER.size + BOARD_THREADS * ENTRY_WORDS * 4

const word = (field: keyof typeof BOARD_HEADER.offsets): number => BOARD_HEADER.offsets[field] / 4

export interface SuspendedThread {
  readonly id: number
  readonly mark: number
  readonly baseline: number
}

export class StopBoard {
  readonly #words: Uint32Array

  constructor(address: bigint) {
    this.#words = wordsAt(address, BOARD_SIZE)
  }

  get watching(): boolean {
    return this.#words[word('watching')] === 1
  }

  setWatching(watching: boolean): void {
    this.#words[word('watching')] = watching ? 1 : 0
  }

  get targetPid(): number {
    return this.#words[word('targetPid')] ?? 0
  }

  get targetCreated(): bigint {
    const at = word('targetCreated')
    return BigInt(this.#words[at] ?? 0) | (BigInt(this.#words[at + 1] ?? 0) << 32n)
  }

  /** Whose threads the marks are. No thread may be marked. */
  setTarget(pid: number, created: bigint): void {
    const at = word('targetCreated')
    this.#words[word('targetPid')] = pid
    this.#words[at] = Number(created & 0xffff_ffffn)
    this.#words[at + 1] = Number(created >> 32n)
  }

  /** Puts a thread that is not suspended by us at `slot`. */
  enter(slot: number, id: number, baseline: number): void {
    const at = HEADER_WORDS + slot * ENTRY_WORDS
    this.#words[at + MARK_AT] = MARK.free
    this.#words[at + ID] = id
    this.#words[at + BASELINE] = baseline
  }

  mark(slot: number, mark: number): void {
    this.#words[HEADER_WORDS + slot * ENTRY_WORDS + MARK_AT] = mark
  }

  /** Those that are marked. */
  marked(): SuspendedThread[] {
    const found: SuspendedThread[] = []
    for (let at = HEADER_WORDS; at < this.#words.length; at += ENTRY_WORDS) {
      const [id = 0, mark = 0, baseline = 0] = this.#words.subarray(at, at + ENTRY_WORDS)
      if (mark !== MARK.free) found.push({ id, mark, baseline })
    }
    return found
  }
}
