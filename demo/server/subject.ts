/** The demo's own server as the subject of the story. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Builds, Live, Subject } from '../subject.ts'
import type { Server, Target } from '../target.ts'
import { buildServer } from './build.ts'
import { type LoadSettings, ServerLoad } from './load.ts'
import { probe } from './probe.ts'

const LOADS: Readonly<Record<Target['bears'], LoadSettings>> = {
  much: { connections: 32, pipelined: 4, pause: 10 },
  little: { connections: 4, pipelined: 2, pause: 400 },
}

export const serverSubject: Subject = {
  title: 'a server with two memory disclosures (demo/server)',
  loadTitle({ bears }) {
    const { connections, pipelined } = LOADS[bears]
    return `${connections} connections that stay open, ${pipelined} requests each under way`
  },
  patchId: 'demo-length-fields',
  description: 'heartbeats and records: the length that a client claims is checked',
  cves: [],
  signs: {
    open: 'a client that lies about a length is sent the server’s private key and password',
    closed: 'a client that lies about a length is refused',
  },
  functions: ['answer', 'answer'],
  switching: [],
  build: (target) => buildServer(target),
  start,
}

async function start(target: Target, builds: Builds): Promise<Live> {
  const server = await target.start(builds.base, ['0'])
  try {
    const load = await ServerLoad.start(await portOf(server), LOADS[target.bears])
    return { server, load, probe: () => probe(load.connections) }
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function portOf(server: Server): Promise<number> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline && server.running(); await sleep(20)) {
    const port = /listening on 127\.0\.0\.1:(\d+)/.exec(server.output())?.[1]
    if (port !== undefined) return server.reach(Number(port))
  }
  throw new Error(`the server did not come up: ${server.output()}`)
}
