/** CVE-2023-0809 seen from outside: before CONNECT, a broker must not take a packet of 256 MB that is not CONNECT. */
import { createConnection } from 'node:net'
import type { Hole } from '../subject.ts'

/** PUBLISH with the largest remaining length there is, on a fresh connection. */
const OVERSIZED = Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f])

/** A broker without the hole ends the connection at once; one with it waits for the rest. */
const PATIENCE = 1000

export function probe(port: number): Promise<Hole> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port, noDelay: true })
    const timer = setTimeout(() => done('open'), PATIENCE)
    let connected = false
    const done = (hole: Hole) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(hole)
    }
    socket.on('connect', () => {
      connected = true
      socket.write(OVERSIZED)
    })
    socket.on('error', (error) => {
      if (!connected) reject(error)
    })
    socket.on('close', () => done('closed'))
    // Without a reader the end of the connection would not be seen.
    socket.resume()
  })
}
