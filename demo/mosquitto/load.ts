/** Clients that stay connected throughout, publish to themselves, and check that every message comes back, whole and in order. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Phase, PhaseCounter } from '../phases.ts'
import type { Load } from '../subject.ts'
import { type Message, MqttClient } from './mqtt.ts'

/** Messages of each quality of service that a client publishes at once. */
const BURST = 5
/** Milliseconds between a client's bursts. */
const PAUSE = 10
/** A burst that takes longer to come back has failed. */
const LIMIT = 10_000

export class MosquittoLoad implements Load {
  private readonly counter = new PhaseCounter()
  private readonly loops: Promise<void>[] = []
  private stopping = false

  static async start(port: number, clients: number): Promise<MosquittoLoad> {
    const load = new MosquittoLoad()
    const echoes = await Promise.all(Array.from({ length: clients }, (_, index) => Echo.connect(port, index, load.counter)))
    for (const echo of echoes) load.loops.push(load.run(echo))
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
  }

  private async run(echo: Echo): Promise<void> {
    while (!this.stopping && echo.open) {
      await echo.burst()
      await sleep(PAUSE)
    }
    await echo.close()
  }
}

/** One client, subscribed to a topic of its own for each quality of service. */
class Echo {
  open = true
  private client: MqttClient | undefined
  private readonly name: string
  private readonly counter: PhaseCounter
  /** What must come back next, by topic, in the order in which it was published. */
  private readonly expected = new Map<string, { payload: Buffer; since: number }[]>()
  private published = 0
  private idle: (() => void) | undefined

  private constructor(name: string, counter: PhaseCounter) {
    this.name = name
    this.counter = counter
  }

  static async connect(port: number, index: number, counter: PhaseCounter): Promise<Echo> {
    const echo = new Echo(`hotpatch-${index}`, counter)
    echo.client = await MqttClient.connect(port, echo.name, {
      message: (message) => echo.received(message),
      ended: (wanted) => echo.ended(wanted),
    })
    for (const qos of [0, 1] as const) await echo.client.subscribe(echo.topic(qos), qos)
    return echo
  }

  /** Publishes and waits until all of it has come back. */
  async burst(): Promise<void> {
    for (let i = 0; i < BURST; i++) for (const qos of [0, 1] as const) this.publish(qos)
    const allBack = new Promise<void>((resolve) => {
      this.idle = resolve
    })
    await Promise.race([allBack, sleep(LIMIT, undefined, { ref: false })])
    for (const [topic, waiting] of this.expected) {
      for (const _ of waiting.splice(0)) this.counter.failed(`a message to ${topic} did not come back`)
    }
  }

  close(): Promise<void> {
    return this.client?.close() ?? Promise.resolve()
  }

  private publish(qos: 0 | 1): void {
    const topic = this.topic(qos)
    this.published++
    // Lengths on both sides of 127, where the length field of the packet grows.
    const payload = Buffer.from(`${this.name} message ${this.published} ${'.'.repeat((this.published * 37) % 300)}`)
    const waiting = this.expected.get(topic) ?? []
    this.expected.set(topic, waiting)
    waiting.push({ payload, since: performance.now() })
    this.client?.publish({ topic, qos, payload })
  }

  private received({ topic, payload }: Message): void {
    const next = this.expected.get(topic)?.shift()
    if (next === undefined) this.counter.failed(`a message to ${topic} came that nobody expected`)
    else if (!next.payload.equals(payload)) this.counter.failed(`"${payload}" came back to ${topic} in place of "${next.payload}"`)
    else this.counter.answered(performance.now() - next.since)
    if ([...this.expected.values()].every((waiting) => waiting.length === 0)) this.idle?.()
  }

  private ended(wanted: boolean): void {
    this.open = false
    if (!wanted) this.counter.dropped(`the broker ended the connection of ${this.name}`)
    this.idle?.()
  }

  private topic(qos: 0 | 1): string {
    return `${this.name}/${qos}`
  }
}
