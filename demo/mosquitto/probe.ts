/** CVE-2023-0809 seen from outside: before CONNECT, a broker must not take a packet of 256 MB that is not CONNECT. */
import { createConnection } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Hole } from '../subject.ts'
import { MqttClient } from './mqtt.ts'

/** PUBLISH with the largest remaining length there is, on a fresh connection. */
const OVERSIZED = Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f])

/** Milliseconds for the end of a connection to get from the broker to this process, once the broker has decided. */
const WAY = 100

/**
 * A broker without the hole ends the connection at once; one with it waits for the rest. How long "at once" may take depends on
 * the machine, so another client shows when the broker has read the bytes: it is one thread that serves its connections in turns.
 */
export async function probe(port: number): Promise<Hole> {
  const socket = createConnection({ host: '127.0.0.1', port, noDelay: true })
  let ended = false
  const connected = new Promise<void>((resolve, reject) => {
    socket.on('connect', resolve)
    socket.on('error', reject)
  })
  socket.on('close', () => {
    ended = true
  })
  // Without a reader the end of the connection would not be seen.
  socket.resume()
  await connected
  await new Promise<void>((resolve) => socket.write(OVERSIZED, () => resolve()))
  await roundTrips(port)
  await sleep(WAY)
  socket.destroy()
  return ended ? 'closed' : 'open'
}

/** Two turns of the broker, both begun after what was sent before. */
async function roundTrips(port: number): Promise<void> {
  const witness = await MqttClient.connect(port, 'hotpatch-witness', { message() {}, ended() {} })
  for (const topic of ['hotpatch-witness/1', 'hotpatch-witness/2']) await witness.subscribe(topic, 0)
  await witness.close()
}
