/** An ARM64 machine that does what this system asks for, until it is switched off. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../free-port.ts'
import { clone } from '../places.ts'
import type { Ran } from '../run.ts'
import { ensureImage, type Image } from './image.ts'
import { type Processors, type RunningMachine, startMachine } from './machine.ts'
import { ensureWindowsImage } from './windows-image.ts'
import { PREPARE_WINE } from './wine-prefix.ts'

/** Ports in the machine. */
const [AGENT, RELAY] = [7000, 7001]
const PRODUCT = '/hotpatch'
const READY = '@ready'
/** Longer than any demo. */
const TIMEOUT_SECONDS = 1800

/** @param prepare lines of a shell script */
const script = (prepare: readonly string[]): string => `set -e
for module in /modules/*.ko; do insmod $module; done
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
${prepare.join('\n')}
exec node /hotpatch/payload/agent.mjs ${AGENT} ${RELAY}
`

export interface Arm64Machine {
  /** The product's command line, in the machine. */
  readonly hotpatch: string
  /** Copies a file into it. */
  bring(from: string, to: string, mode: number): Promise<void>
  run(program: string, args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ran>
  /** Starts a program that goes on; gives its pid. */
  start(program: string, args: readonly string[], env?: Readonly<Record<string, string>>): Promise<number>
  look(pid: number): Promise<{ output: string; running: boolean }>
  stop(pid: number): Promise<void>
  /** Executable memory of a process that lies within `reach` bytes of `address`, by its start. */
  code(pid: number, address: number, reach: number): Promise<Map<number, Buffer>>
  /** The port here that leads to a port of its loopback interface. One at a time. */
  relay(to: number): Promise<number>
  off(): Promise<void>
}

/**
 * With the product, as it is compiled in dist/, and its dependencies.
 * @throws what fetching the machine's parts throws, and when it does not come up
 */
export const startArm64 = async (log: (line: string) => void): Promise<Arm64Machine> => start(await ensureImage(log), [], 'at once')

/** The same with Wine in it; its programs are run by wine-programs.ts. */
export const startArm64Windows = async (log: (line: string) => void): Promise<Arm64Machine> =>
  start(await ensureWindowsImage(await ensureImage(log), log), PREPARE_WINE, 'in turns')

async function start(image: Image, prepare: readonly string[], processors: Processors): Promise<Arm64Machine> {
  const [agent, relay] = [await freePort(), await freePort()]
  const said: string[] = []
  const { machine, ready } = await powerOn(image, script(prepare), processors, [agent, relay], said)
  const ask = async <T>(what: string, body: unknown, headers: Record<string, string> = {}): Promise<T> => {
    const given = body instanceof Uint8Array ? body : JSON.stringify(body)
    const answer = await fetch(`http://127.0.0.1:${agent}/${what}`, { method: 'POST', body: given, headers })
    if (!answer.ok) throw new Error(`the ARM64 machine: ${what}: ${await answer.text()}`)
    return (await answer.json()) as T
  }
  await ready
  return {
    hotpatch: `${PRODUCT}/bin/hotpatch`,
    bring: async (from, to, mode) => void (await ask('file', readFileSync(from), { 'x-file': JSON.stringify({ path: to, mode }) })),
    run: (program, args, env = {}) => ask<Ran>('run', { program, args, env }),
    start: async (program, args, env = {}) => (await ask<{ pid: number }>('start', { program, args, env })).pid,
    look: (pid) => ask('look', { pid }),
    stop: async (pid) => void (await ask('stop', { pid })),
    async code(pid, address, reach) {
      const { regions } = await ask<{ regions: readonly (readonly [number, string])[] }>('code', { pid, address, reach })
      return new Map(regions.map(([start, bytes]) => [start, Buffer.from(bytes, 'base64')]))
    },
    async relay(to) {
      await ask('relay', { to })
      return relay
    },
    async off() {
      machine.off()
      await machine.ended
    },
  }
}

async function powerOn(
  image: Image,
  script: string,
  processors: Processors,
  [agent, relay]: readonly [number, number],
  said: string[],
): Promise<{ machine: RunningMachine; ready: Promise<void> }> {
  let isReady = () => {}
  const up = new Promise<void>((resolve) => {
    isReady = resolve
  })
  const machine = startMachine(
    image,
    (cpio) => {
      cpio.folder('hotpatch/bin')
      for (const name of ['package.json', 'bin/hotpatch']) cpio.file(`hotpatch/${name}`, readFileSync(join(clone, name)), 0o755)
      cpio.tree('hotpatch/dist', join(clone, 'dist'))
      cpio.file('hotpatch/payload/agent.mjs', readFileSync(new URL('agent.mjs', import.meta.url)), 0o644)
      cpio.file('hotpatch/payload/run.sh', Buffer.from(script), 0o755)
    },
    {
      line: (text) => (text === READY ? isReady() : void said.push(text)),
      timeoutSeconds: TIMEOUT_SECONDS,
      processors,
      ports: [
        { here: agent, there: AGENT },
        { here: relay, there: RELAY },
      ],
    },
  )
  const ended = machine.ended.then(() => {
    throw new Error(`the ARM64 machine has ended: ${said.slice(-20).join('\n')}`)
  })
  ended.catch(() => {})
  return { machine, ready: Promise.race([up, ended]) }
}
