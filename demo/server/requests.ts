/** Honest requests of every kind, each with the one right answer to it. The answers are the same before and after the fix. */
import { digestBody, heartbeatBody, Operation, recordBody } from './wire.ts'

export interface Request {
  readonly operation: number
  readonly body: Buffer
  /** Undefined where the answer is right; otherwise what is wrong with it. */
  check(answer: Buffer): string | undefined
}

/** What the server holds, as demo/server/before/records.c has it. */
const RECORDS: Readonly<Record<string, string>> = {
  greeting: 'Welcome. This server answers heartbeats, records and digests.\n',
  robustness: 'Be conservative in what you do, be liberal in what you accept from others.\n',
}

/** Payload in, the server's reply out: `restyle` of demo/server/before/heartbeat.c. */
const STYLES: readonly ((bytes: Buffer) => Buffer)[] = [
  (bytes) => bytes,
  (bytes) => Buffer.from(bytes).reverse(),
  (bytes) => bytes.map((byte) => byte ^ 0xff) as Buffer,
  (bytes) => bytes.map((byte) => (byte << 4) | (byte >> 4)) as Buffer,
  (bytes) => bytes.map((byte, index) => byte + index) as Buffer,
  (bytes) => {
    let sum = 0
    return bytes.map((byte) => {
      sum ^= byte
      return sum
    }) as Buffer
  },
]

const DIGESTS: readonly ((bytes: Buffer) => number)[] = [fnv1a, adler32]

/** The endless sequence of requests that `seed` stands for. */
export function* requests(seed: number): Generator<Request, never> {
  const random = generator(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  for (;;) {
    const kind = below(10)
    if (kind < 5) yield heartbeat(below(STYLES.length), randomBytes(1 + below(200), below))
    else if (kind < 9) yield record(below(2) === 0 ? 'greeting' : 'robustness', below)
    else yield digest(below(DIGESTS.length), randomBytes(below(200), below))
  }
}

function heartbeat(style: number, payload: Buffer): Request {
  return expecting(Operation.heartbeat, heartbeatBody(style, payload), (STYLES[style] ?? same)(payload))
}

function record(name: string, below: (limit: number) => number): Request {
  const value = RECORDS[name] ?? ''
  const offset = below(value.length)
  const length = below(value.length - offset + 1)
  const ignoreCase = below(2) === 0
  const body = recordBody(ignoreCase ? name.toUpperCase() : name, ignoreCase, offset, length)
  return expecting(Operation.record, body, Buffer.from(value.slice(offset, offset + length), 'latin1'))
}

function digest(kind: number, bytes: Buffer): Request {
  const expected = Buffer.alloc(4)
  expected.writeUInt32BE((DIGESTS[kind] ?? fnv1a)(bytes))
  return expecting(Operation.digest, digestBody(kind, bytes), expected)
}

function expecting(operation: number, body: Buffer, expected: Buffer): Request {
  return {
    operation,
    body,
    check: (answer) =>
      answer.equals(expected) ? undefined : `operation ${operation} answered ${clip(answer)} in place of ${clip(expected)}`,
  }
}

const same = (bytes: Buffer): Buffer => bytes

const clip = (bytes: Buffer): string => `${bytes.length} bytes ${bytes.subarray(0, 16).toString('hex')}`

const randomBytes = (length: number, below: (limit: number) => number): Buffer => Buffer.from(Array.from({ length }, () => below(256)))

function fnv1a(bytes: Buffer): number {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

function adler32(bytes: Buffer): number {
  let [low, high] = [1, 0]
  for (const byte of bytes) {
    low = (low + byte) % 65521
    high = (high + low) % 65521
  }
  return ((high << 16) | low) >>> 0
}

/** mulberry32: 0 to 1, the same sequence for the same seed. */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
