/**
 * A client of MQTT 3.1.1 (OASIS standard, 29 October 2014), as much as the demo needs: clean session, QoS 0 and 1.
 * Section numbers are the standard's.
 */
import { createConnection, type Socket } from 'node:net'

/** 2.2.1: the upper four bits of the first byte. */
const PacketType = { connect: 1, connack: 2, publish: 3, puback: 4, subscribe: 8, suback: 9, disconnect: 14 } as const

export interface Message {
  readonly topic: string
  readonly qos: 0 | 1
  readonly payload: Buffer
}

export interface MqttEvents {
  message(message: Message): void
  /** The connection is gone. `wanted` when this side closed it. */
  ended(wanted: boolean): void
}

export class MqttClient {
  private readonly socket: Socket
  private readonly events: MqttEvents
  private readonly acknowledgements = new Map<string, () => void>()
  private lastPacketId = 0
  private rest: Buffer = Buffer.alloc(0)
  private closing = false

  private constructor(socket: Socket, events: MqttEvents) {
    this.socket = socket
    this.events = events
    socket.on('data', (chunk) => this.receive(chunk))
    socket.on('error', () => {})
    socket.on('close', () => events.ended(this.closing))
  }

  static async connect(port: number, clientId: string, events: MqttEvents): Promise<MqttClient> {
    const socket = createConnection({ host: '127.0.0.1', port, noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    const client = new MqttClient(socket, events)
    const accepted = client.acknowledged(PacketType.connack, 0)
    // 3.1.2: protocol level 4, flags "clean session", no keep alive.
    const body = Buffer.concat([text('MQTT'), Buffer.of(4, 0x02), word(0), text(clientId)])
    socket.write(packet(PacketType.connect, 0, body))
    await accepted
    return client
  }

  async subscribe(topic: string, qos: 0 | 1): Promise<void> {
    const id = this.nextPacketId()
    const granted = this.acknowledged(PacketType.suback, id)
    // 3.8.1: the reserved flags are 0010.
    this.socket.write(packet(PacketType.subscribe, 0b0010, Buffer.concat([word(id), text(topic), Buffer.of(qos)])))
    await granted
  }

  /** With QoS 1, resolves when the broker has acknowledged. */
  publish({ topic, qos, payload }: Message): Promise<void> {
    const id = qos === 0 ? undefined : this.nextPacketId()
    const acknowledged = id === undefined ? Promise.resolve() : this.acknowledged(PacketType.puback, id)
    const head = id === undefined ? [text(topic)] : [text(topic), word(id)]
    this.socket.write(packet(PacketType.publish, qos << 1, Buffer.concat([...head, payload])))
    return acknowledged
  }

  async close(): Promise<void> {
    this.closing = true
    if (this.socket.destroyed) return
    const closed = new Promise<void>((resolve) => this.socket.once('close', () => resolve()))
    this.socket.end(packet(PacketType.disconnect, 0, Buffer.alloc(0)))
    setTimeout(() => this.socket.destroy(), 1000).unref()
    await closed
  }

  /** 2.3.1: 1 to 65535. */
  private nextPacketId(): number {
    this.lastPacketId = (this.lastPacketId % 0xffff) + 1
    return this.lastPacketId
  }

  private acknowledged(type: number, packetId: number): Promise<void> {
    return new Promise((resolve) => this.acknowledgements.set(`${type}:${packetId}`, resolve))
  }

  private receive(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk])
    for (let next = cutPacket(this.rest); next !== undefined; next = cutPacket(this.rest)) {
      this.rest = this.rest.subarray(next.size)
      this.handle(next.type, next.flags, next.body)
    }
  }

  private handle(type: number, flags: number, body: Buffer): void {
    if (type === PacketType.publish) this.delivered(flags, body)
    else if (type === PacketType.connack) this.acknowledge(type, 0)
    else this.acknowledge(type, body.readUInt16BE(0))
  }

  private acknowledge(type: number, packetId: number): void {
    const key = `${type}:${packetId}`
    this.acknowledgements.get(key)?.()
    this.acknowledgements.delete(key)
  }

  private delivered(flags: number, body: Buffer): void {
    const qos = ((flags >> 1) & 0b11) === 0 ? 0 : 1
    const topicEnd = 2 + body.readUInt16BE(0)
    if (qos === 1) this.socket.write(packet(PacketType.puback, 0, body.subarray(topicEnd, topicEnd + 2)))
    const payload = body.subarray(topicEnd + (qos === 0 ? 0 : 2))
    this.events.message({ topic: body.toString('utf8', 2, topicEnd), qos, payload })
  }
}

const word = (value: number): Buffer => Buffer.of(value >> 8, value & 0xff)

/** 1.5.3: UTF-8 with its length before it. */
const text = (value: string): Buffer => Buffer.concat([word(Buffer.byteLength(value)), Buffer.from(value)])

function packet(type: number, flags: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.of((type << 4) | flags), remainingLength(body.length), body])
}

/** 2.2.3: seven bits a byte, the lowest first; the highest bit says that another follows. */
function remainingLength(length: number): Buffer {
  const bytes: number[] = []
  let rest = length
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
    rest >>= 7
  } while (rest > 0)
  return Buffer.from(bytes)
}

/** The first packet of the stream; undefined while it is not complete. */
function cutPacket(stream: Buffer): { type: number; flags: number; body: Buffer; size: number } | undefined {
  let length = 0
  for (let at = 1; at < stream.length && at <= 4; at++) {
    const byte = stream.readUInt8(at)
    length |= (byte & 0x7f) << (7 * (at - 1))
    if ((byte & 0x80) !== 0) continue
    const size = at + 1 + length
    if (stream.length < size) return undefined
    const first = stream.readUInt8(0)
    return { type: first >> 4, flags: first & 0xf, body: stream.subarray(at + 1, size), size }
  }
  return undefined
}
