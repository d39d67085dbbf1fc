/** What is said when a process had no safe moment: which threads were in the way, where, and whether they ever leave. */
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'
import { hexAddress } from './sites.ts'
import type { BlockingThread, Found } from './stacks/inspection.ts'

interface Stay {
  readonly thread: BlockingThread
  readonly tries: number
  /** At how many of them, up to the last, its registers were the same. */
  readonly still: number
}

/** What the tries so far have shown. */
export class BusyRecord {
  #tries = 0
  #last: readonly BlockingThread[] = []
  /** Of the last tries at which any was in the way: their numbers. */
  #recent: readonly (readonly number[])[] = []
  /** At how many tries in a row, up to the last, a thread was in the way in the same function and, as far as is known, the same call. */
  #inARow: ReadonlyMap<number, Stay> = new Map()

  get tries(): number {
    return this.#tries
  }

  /** Whether any thread was in the way at the last try. */
  get metAny(): boolean {
    return this.#last.length > 0
  }

  /** The threads that were in the way lately: while some of them are waited for, the others would come back. */
  get recentThreads(): readonly number[] {
    return [...new Set(this.#recent.flat())]
  }

  /** Some thread was in the way at several tries in a row without having moved at all: it waits for something. */
  get standsStill(): boolean {
    return [...this.#inARow.values()].some(({ still }) => still >= TRIES_THAT_TELL)
  }

  add(blocking: readonly BlockingThread[]): void {
    const inARow = blocking.map((thread) => {
      const before = this.#inARow.get(thread.threadId)
      const stayed = before !== undefined && isSame(before.thread, thread)
      const tries = stayed ? before.tries + 1 : 1
      const still = stayed && before.thread.digest === thread.digest ? before.still + 1 : 1
      return [thread.threadId, { thread, tries, still }] as const
    })
    this.#inARow = new Map(inARow)
    this.#last = blocking
    this.#recent = [...this.#recent, blocking.map(({ threadId }) => threadId)].slice(-LATELY)
    this.#tries++
  }

  /** A try that was broken off before anything was seen. */
  addFailed(): void {
    this.#tries++
  }

  error(process: Process, functionName: (index: number) => string): HotpatchError {
    const names = threadNames(process)
    const threads = this.#last.map((thread) => this.#describe(thread, names.get(thread.threadId) ?? '', functionName))
    const [first, ...others] = threads
    const words = threads.slice(0, MOST_IN_WORDS).map(({ detail }) => detail)
    const more = threads.length > MOST_IN_WORDS ? `; and ${threads.length - MOST_IN_WORDS} more threads` : ''
    return new HotpatchError('BUSY', `${words.join('; ')}${more}; tried ${this.#tries} times`, {
      facts: {
        pid: process.pid,
        thread: first?.thread,
        function: first?.function,
        depth: first?.depth,
        instructionPointer: first?.address,
        tries: this.#tries,
        threads: threads.map(({ detail: _, todo: __, ...facts }) => facts),
        reasons: [first, ...others].flatMap((t) =>
          t === undefined
            ? []
            : [{ code: 'BUSY', symbol: t.function, detail: t.detail, ...(t.todo === undefined ? {} : { todo: t.todo }) }],
        ),
      },
    })
  }

  #describe({ threadId, innermost, standsInBytes }: BlockingThread, name: string, functionName: (index: number) => string) {
    const { depth, found, address } = innermost
    const symbol = found === 'unreadable' ? '' : functionName(innermost.function)
    const who = `thread ${threadId}${name === '' ? '' : ` (${name})`}`
    const tries = this.#inARow.get(threadId)?.tries ?? 0
    const where = hexAddress(address)
    const detail = standsInBytes
      ? `${who} stands at ${where} in ${symbol}, in bytes that are to be rewritten`
      : `${who} ${WHEREABOUTS[found](symbol, depth, where)}`
    return {
      thread: { id: threadId, name },
      function: symbol,
      address: where,
      depth,
      found,
      /** Without having been seen elsewhere in between. */
      lastTries: tries,
      detail,
      todo: tries >= TRIES_THAT_TELL && !standsInBytes ? (found === 'unreadable' ? NEVER_READ : neverLeaves(symbol, tries)) : undefined,
    }
  }
}

const MOST_IN_WORDS = 4
/** Tries that are as late as that. More would keep threads waiting that have long left. */
const LATELY = 3
/** Fewer tries may all have met one long call. */
const TRIES_THAT_TELL = 5

const neverLeaves = (symbol: string, tries: number): string =>
  `it was there at the last ${tries} tries: if ${symbol} is a loop that does not return, leave it as it is and patch a function that it calls; ` +
  'if it returns now and then, use --wait-for-return'

const NEVER_READ =
  'whatever keeps its memory from being read (memfd_secret, a bad page) has to end; where every change is one store, --consistency function looks at no stack'

const inside = (symbol: string, depth: number): string => `is inside ${symbol}, frame ${depth}`
const WHEREABOUTS: Readonly<Record<Found, (symbol: string, depth: number, where: string) => string>> = {
  'instruction-pointer': inside,
  unwinding: inside,
  scanning: (symbol, depth, where) => `has ${where} in ${symbol} on its stack, found by scanning from frame ${depth} on`,
  unreadable: (_, depth, where) => `has a stack that cannot be read from ${where} on, frame ${depth}: what it is inside of is not known`,
}

function isSame(before: BlockingThread, now: BlockingThread): boolean {
  const [a, b] = [before.outermost, now.outermost]
  return a.function === b.function && (a.frame === b.frame || a.frame === 0n || b.frame === 0n)
}

/** Asked after the stop, when threads may have ended. */
const threadNames = (process: Process): Map<number, string> => new Map(process.threads().map(({ id, name }) => [id, name]))
