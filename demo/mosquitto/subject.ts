/** Debian's mosquitto as the subject of the story: CVE-2023-0809. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { builtEntry } from '../../bench/cves/build.ts'
import { freePort } from '../../tools/free-port.ts'
import { workshop } from '../../tools/places.ts'
import type { Builds, Live, Subject } from '../subject.ts'
import { corpusOf, type Server, type Target } from '../target.ts'
import { MosquittoLoad } from './load.ts'
import { probe } from './probe.ts'

const ENTRY = 'mosquitto--CVE-2023-0809'
const CLIENTS = 8

export const mosquittoSubject: Subject = {
  title: 'the MQTT broker mosquitto 2.0.11 with CVE-2023-0809',
  loadTitle: () => `${CLIENTS} clients that stay connected and must get every message, in order`,
  patchId: 'mosquitto-CVE-2023-0809',
  description: 'a packet before CONNECT is refused by its type and size',
  cves: ['CVE-2023-0809'],
  signs: {
    open: '256 MB announced on a fresh connection (30 ff ff ff 7f): the broker waits for them',
    closed: '256 MB announced on a fresh connection (30 ff ff ff 7f): the broker ends the connection at once',
  },
  functions: ['packet__read'],
  // Its one thread is in packet__read most of the time when there is much to read.
  switching: ['--wait-for-return'],
  build: async (target) => buildsFor(target),
  start,
}

async function buildsFor(target: Target): Promise<Builds> {
  const { before, after, images } = await builtEntry(ENTRY, corpusOf(target))
  const broker = images.find(({ file }) => file === `mosquitto${target.programSuffix}`)
  if (broker === undefined) throw new Error(`the build of ${ENTRY} has no broker`)
  const place = join(workshop, 'demo', 'mosquitto', target.name)
  const builds = { place, before: join(place, 'before'), after: join(place, 'after'), base: join(place, broker.file) }
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place, { recursive: true })
  // The corpus lies far away: links make the commands that are shown readable.
  symlinkSync(join(before, broker.objects), builds.before)
  symlinkSync(join(after, broker.objects), builds.after)
  symlinkSync(join(before, broker.file), builds.base)
  return builds
}

async function start(target: Target, builds: Builds): Promise<Live> {
  const port = await freePort()
  const configuration = join(builds.place, 'broker.conf')
  writeFileSync(configuration, `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\n`)
  const server = await target.start(builds.base, ['-c', target.path(configuration)])
  try {
    await untilItListens(server, port)
    const load = await MosquittoLoad.start(port, CLIENTS)
    return { server, load, probe: () => probe(port) }
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function untilItListens(server: Server, port: number): Promise<void> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline && server.running(); await sleep(50)) {
    try {
      await probe(port)
      return
    } catch {
      // Not yet.
    }
  }
  throw new Error(`mosquitto did not come up: ${server.output()}`)
}
