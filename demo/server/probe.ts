/** Looks whether the demo's server leaks, over connections that carry load at the same time. */
import type { Hole } from '../subject.ts'
import type { Connection } from './connection.ts'
import { heartbeatBody, Operation, type Reply, recordBody, Status } from './wire.ts'

/** The liar's requests: each claims more than there is, and what it gets while the hole is open contains a secret. */
const LIES = [
  { operation: Operation.heartbeat, body: heartbeatBody(0, Buffer.from('bird'), 4000), secret: 'correct-horse-battery-staple' },
  { operation: Operation.record, body: recordBody('robustness', false, 0, 300), secret: 'tr0ub4dor-and-3' },
] as const

/** Every lie over every connection. */
export async function probe(connections: readonly Connection[]): Promise<Hole> {
  const looks = await Promise.all(
    connections.flatMap((connection) =>
      LIES.map(async ({ operation, body, secret }) => judge(await connection.ask(operation, body), secret)),
    ),
  )
  return looks.every((look) => look === looks[0]) ? (looks[0] ?? 'mixed') : 'mixed'
}

function judge(reply: Reply, secret: string): Hole {
  const leaks = reply.body.includes(secret)
  if (leaks) return 'open'
  return reply.status === Status.refused ? 'closed' : 'mixed'
}
