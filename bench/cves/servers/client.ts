/** What a client on the loopback interface sees of a server, as raw bytes: a library would not send what these holes need. */
import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds for an answer; the machine may be busy. */
const LIMIT = 60_000

/** A connection that is kept. */
export class Connection {
  private readonly socket: Socket
  private received = ''
  private ended = false
  private woken: () => void = () => {}

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (chunk) => {
      this.received += chunk
      this.woken()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.ended = true
      this.woken()
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

  /** Sends, and gives what comes until it matches or the server ends the connection. Throws where neither happens. */
  async ask(request: string, answered: RegExp): Promise<string> {
    this.received = ''
    this.socket.write(Buffer.from(request, 'latin1'))
    for (const deadline = Date.now() + LIMIT; !answered.test(this.received) && !this.ended; ) {
      const rest = deadline - Date.now()
      if (rest <= 0) throw new Error(`no whole answer came to ${JSON.stringify(request.slice(0, 60))}: ${JSON.stringify(this.received)}`)
      const woken = new Promise<void>((resolve) => {
        this.woken = resolve
      })
      await Promise.race([woken, sleep(rest, undefined, { ref: false })])
    }
    return this.received
  }

  close(): void {
    this.socket.destroy()
  }
}

/** On a connection of its own. */
export async function askOnce(port: number, request: string, answered: RegExp): Promise<string> {
  const connection = await Connection.open(port)
  try {
    return await connection.ask(request, answered)
  } finally {
    connection.close()
  }
}

/** Sends `chunk` up to `times` times and never reads. Whether the server has ended the connection by then. */
export async function floodIsCut(port: number, chunk: Buffer, times: number): Promise<boolean> {
  const socket = createConnection({ host: '127.0.0.1', port })
  let cut = false
  const ended = new Promise<void>((resolve) => {
    socket.on('error', () => {
      cut = true
    })
    socket.on('close', () => {
      cut = true
      resolve()
    })
  })
  socket.pause()
  try {
    await new Promise<void>((resolve) => socket.once('connect', resolve))
    for (let i = 0; i < times && !cut; i++)
      await Promise.race([ended, new Promise<void>((resolve) => socket.write(chunk, () => resolve()))])
    return cut
  } finally {
    socket.destroy()
  }
}

export async function untilListening(port: number, server: { running(): boolean; output(): string }): Promise<void> {
  for (const deadline = Date.now() + LIMIT; Date.now() < deadline && server.running(); await sleep(50)) {
    try {
      ;(await Connection.open(port)).close()
      return
    } catch {
      // Not yet.
    }
  }
  throw new Error(`the server does not listen: ${server.output()}`)
}
