/** Load on the demo's server: connections that stay open, each with several honest requests under way at any time. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Phase, PhaseCounter } from '../phases.ts'
import type { Load } from '../subject.ts'
import { Connection } from './connection.ts'
import { type Request, requests } from './requests.ts'
import { Status } from './wire.ts'

export interface LoadSettings {
  readonly connections: number
  /** Requests that a connection sends at once before it waits for their answers. */
  readonly pipelined: number
  /** Milliseconds between a connection's answers and its next requests: leaves processor time to the work under test. */
  readonly pause: number
}

/** An answer that takes longer has failed. */
const ANSWER_LIMIT = 10_000

export class ServerLoad implements Load {
  readonly connections: readonly Connection[]
  private readonly counter = new PhaseCounter()
  private readonly settings: LoadSettings
  private readonly loops: Promise<void>[] = []
  private stopping = false

  private constructor(connections: readonly Connection[], settings: LoadSettings) {
    this.connections = connections
    this.settings = settings
  }

  static async start(port: number, settings: LoadSettings): Promise<ServerLoad> {
    const connections: Connection[] = []
    // One after the other: QEMU's listening socket has a backlog of 1, and where several come at once the system ends some.
    for (let i = 0; i < settings.connections; i++) connections.push(await Connection.open(port))
    const load = new ServerLoad(connections, settings)
    connections.forEach((connection, index) => {
      load.loops.push(load.run(connection, index))
    })
    return load
  }

  get phases(): readonly Phase[] {
    return this.counter.phases
  }

  begin(phase: string): void {
    this.counter.begin(phase)
  }

  async stop(): Promise<void> {
    this.stopping = true
    await Promise.all(this.loops)
    await Promise.all(this.connections.map((connection) => connection.close()))
  }

  private async run(connection: Connection, seed: number): Promise<void> {
    let open = true
    connection.ended.then((wanted) => {
      open = false
      if (!wanted) this.counter.dropped(`the server ended connection ${seed}`)
    })
    const source = requests(seed)
    while (open && !this.stopping) {
      const batch = Array.from({ length: this.settings.pipelined }, () => source.next().value)
      await Promise.all(batch.map((request) => this.one(connection, request)))
      await sleep(this.settings.pause)
    }
  }

  private async one(connection: Connection, request: Request): Promise<void> {
    const began = performance.now()
    try {
      const reply = await connection.ask(request.operation, request.body)
      const took = performance.now() - began
      const wrong =
        reply.status === Status.ok ? request.check(reply.body) : `operation ${request.operation} answered status ${reply.status}`
      if (wrong !== undefined) this.counter.failed(wrong)
      else if (took > ANSWER_LIMIT) this.counter.failed(`an answer took ${Math.round(took)} ms`)
      else this.counter.answered(took)
    } catch (error) {
      this.counter.failed(error instanceof Error ? error.message : String(error))
    }
  }
}
