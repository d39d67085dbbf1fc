/** One connection to the server that stays open; requests may be pipelined. */
import { createConnection, type Socket } from 'node:net'
import { type Reply, ReplyReader, requestFrame } from './wire.ts'

interface Waiting {
  resolve(reply: Reply): void
  reject(error: Error): void
}

export class Connection {
  /** Resolves when the connection is gone: true when this side closed it. */
  readonly ended: Promise<boolean>
  private readonly socket: Socket
  private readonly waiting = new Map<number, Waiting>()
  private lastId = 0
  private closing = false

  private constructor(socket: Socket) {
    this.socket = socket
    const reader = new ReplyReader()
    socket.on('data', (chunk) => {
      for (const reply of reader.push(chunk)) this.deliver(reply)
    })
    socket.on('error', () => {})
    this.ended = new Promise((resolve) => {
      socket.on('close', () => {
        for (const waiting of this.waiting.values()) waiting.reject(new Error('the connection ended before the answer'))
        this.waiting.clear()
        resolve(this.closing)
      })
    })
  }

  static async open(port: number): Promise<Connection> {
    const socket = createConnection({ host: '127.0.0.1', port, noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new Connection(socket)
  }

  /** Rejects when the connection ends first. */
  ask(operation: number, body: Uint8Array): Promise<Reply> {
    this.lastId = (this.lastId + 1) >>> 0
    const id = this.lastId
    return new Promise((resolve, reject) => {
      if (this.socket.destroyed) {
        reject(new Error('the connection has ended'))
        return
      }
      this.waiting.set(id, { resolve, reject })
      this.socket.write(requestFrame(operation, id, body))
    })
  }

  async close(): Promise<void> {
    this.closing = true
    this.socket.destroy()
    await this.ended
  }

  private deliver(reply: Reply): void {
    const waiting = this.waiting.get(reply.id)
    this.waiting.delete(reply.id)
    waiting?.resolve(reply)
  }
}
