/** Engines in processes of their own, which are killed at any instant. One more than is needed is always started already. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TargetName } from '../demo/target.ts'
import { clone, workshop } from '../tools/places.ts'
import { appInWine, ensureWine, spawnInWine } from '../tools/wine.mjs'
import type { Answer, Job } from './worker.ts'

/** A start of Node.js on a machine that has much to do. */
const START_MS = 120_000
const COMPILED = join(workshop, 'chaos/worker')

export function compileWorker(): void {
  execFileSync(join(clone, 'node_modules/.bin/tsc'), ['-p', join(clone, 'chaos/tsconfig.worker.json')], { cwd: clone, stdio: 'inherit' })
  // Its version is read from beside it.
  copyFileSync(join(clone, 'package.json'), join(COMPILED, 'package.json'))
}

export interface Engine {
  /** undefined: it was killed before it answered. */
  run(job: Job): Promise<Answer | undefined>
  kill(): Promise<void>
}

interface Program {
  kill(): void
  readonly ended: Promise<unknown>
}

/** Starts the program that connects to `port`. */
const START: Readonly<Record<TargetName, (port: number) => Promise<Program>>> = {
  async elf(port) {
    const child = spawn(process.execPath, [join(COMPILED, 'chaos/worker.js'), `${port}`], { stdio: ['ignore', 'ignore', 'inherit'] })
    return { kill: () => void child.kill('SIGKILL'), ended: once(child, 'exit') }
  },
  async pe(port) {
    const wine = await ensureWine()
    const program = await spawnInWine(wine.node, [...(await appInWine(COMPILED, 'chaos/worker.js')), `${port}`])
    return { kill: () => void program.stop(), ended: program.ended }
  },
}

export class Engines {
  readonly #target: TargetName
  readonly #server: Server
  readonly #connected: ((socket: Socket) => void)[] = []
  #spare: Promise<Engine> | undefined
  #closed = false

  private constructor(target: TargetName, server: Server) {
    this.#target = target
    this.#server = server
    server.on('connection', (socket) => this.#connected.shift()?.(socket))
  }

  static async open(target: TargetName): Promise<Engines> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Engines(target, server)
  }

  async next(): Promise<Engine> {
    const engine = await (this.#spare ?? this.#start())
    this.#spare = this.#start()
    this.#spare.catch(() => {})
    return engine
  }

  async close(): Promise<void> {
    this.#closed = true
    const spare = await this.#spare?.catch(() => undefined)
    await spare?.kill()
    this.#server.close()
  }

  /** One at a time connects, so the next connection is this one's. */
  async #start(): Promise<Engine> {
    if (this.#closed) throw new Error('no more engines are wanted')
    const connection = new Promise<Socket>((resolve, reject) => {
      this.#connected.push(resolve)
      setTimeout(() => reject(new Error('an engine did not start')), START_MS).unref()
    })
    const program = await START[this.#target]((this.#server.address() as { port: number }).port)
    const died = program.ended.then(() => Promise.reject(new Error('an engine ended before it connected')))
    return engineOf(program, await Promise.race([connection, died]))
  }
}

function engineOf(program: Program, socket: Socket): Engine {
  const waiting: ((answer: Answer | undefined) => void)[] = []
  const gone = () => {
    for (const answer of waiting.splice(0)) answer(undefined)
  }
  // A killed engine that had not read its job yet resets the connection, and the interface passes its input's error on.
  const lines = createInterface({ input: socket })
  lines.on('line', (line) => waiting.shift()?.(JSON.parse(line) as Answer))
  lines.on('error', gone)
  socket.on('close', gone)
  return {
    run: (job) =>
      new Promise((resolve) => {
        if (socket.destroyed) return resolve(undefined)
        waiting.push(resolve)
        socket.write(`${JSON.stringify(job)}\n`)
      }),
    async kill() {
      program.kill()
      await program.ended
      socket.destroy()
    },
  }
}
