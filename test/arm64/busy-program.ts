/** The program of test/engine/busy-pe while it runs: steered by the process backend itself, since there is none other inside Windows. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Process } from '../../src/process/contract.ts'
import { hostBackend } from '../../src/process/host.ts'

/** As in main.c. */
const FIELDS = ['function', 'in_ms', 'out_ms', 'running', 'staying', 'old', 'fixed', 'bad', 'again'] as const
type Field = (typeof FIELDS)[number]
type Answer = 'old' | 'fixed' | 'again'
export const BUSY_FUNCTIONS = ['slow', 'sorts', 'allocates', 'faults'] as const
/** The machine's processors are emulated, all by one. */
export const THREADS = 3
const LIMIT = 120_000
/** Milliseconds between two calls, each of which takes one: emulated, an engine can look for a moment without any only a few times in a minute. */
const OUT_MS = 100
/** Where nothing but calls is waited for. Still so long that a thread which was about to count its call does so before the others have made many more. */
const QUICK = { in_ms: 1, out_ms: 10 } as const
/** Longer than any case takes. */
const LONG = 600_000

/** Milliseconds. A look into the program takes some of them itself. */
const BETWEEN_LOOKS = 20

export interface BusyProgram {
  readonly process: Process
  /** Of its main module. */
  readonly base: bigint
  get(field: Field): number
  /** Of what main.c lets itself be steered by. */
  set(field: 'function' | 'in_ms' | 'out_ms', value: number): void
  /** Calls are quick meanwhile. */
  grows(answer: Answer): Promise<void>
  /** Resolves when calls give that answer, and none gives another any more. */
  answersOnly(answer: Answer): Promise<void>
  /** Resolves when every thread is in a call of that function which does not end. */
  stayIn(name: (typeof BUSY_FUNCTIONS)[number]): Promise<void>
  stop(): Promise<void>
}

export async function startBusyProgram(exe: string): Promise<BusyProgram> {
  const output = join(tmpdir(), `busy-${randomUUID()}.json`)
  const child = spawn(exe, [output, String(THREADS)], { stdio: 'ignore' })
  const ended = once(child, 'exit')
  const control = await announced(output)
  const target = (await hostBackend()).open(child.pid ?? 0)
  const at = (field: Field): bigint => control + BigInt(8 * FIELDS.indexOf(field))
  const get = (field: Field): number => Number(Buffer.from(target.read(at(field), 8)).readBigUInt64LE(0))
  const set = (field: Field, value: number): void => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(value))
    target.write(at(field), bytes)
  }
  const program: BusyProgram = {
    process: target,
    base: target.modules()[0]?.base ?? 0n,
    get,
    set,
    async grows(answer) {
      const pauses = [
        ['in_ms', get('in_ms')],
        ['out_ms', get('out_ms')],
      ] as const
      for (const [field] of pauses) set(field, QUICK[field])
      const before = get(answer)
      await until(`more answers are ${answer}`, () => get(answer) > before + 20)
      for (const [field, value] of pauses) set(field, value)
    },
    async answersOnly(answer) {
      await program.grows(answer)
      const others = (['old', 'fixed', 'again', 'bad'] as const).filter((field) => field !== answer)
      const counts = () => others.map(get).join()
      const before = counts()
      await program.grows(answer)
      if (counts() !== before) throw new Error(`not all answers are ${answer}: ${others} were ${before} and are ${counts()}`)
    },
    async stayIn(name) {
      set('function', BUSY_FUNCTIONS.indexOf(name))
      set('in_ms', LONG)
      await until(`all are in ${name}`, () => get('staying') === THREADS)
    },
    async stop() {
      target.close()
      child.kill()
      await ended
      rmSync(output, { force: true })
    },
  }
  await until('the workers run', () => get('running') === THREADS)
  set('out_ms', OUT_MS)
  return program
}

async function announced(path: string): Promise<bigint> {
  for (const end = Date.now() + LIMIT; ; await sleep(20)) {
    try {
      return BigInt((JSON.parse(readFileSync(path, 'utf8')) as { control: string }).control)
    } catch (error) {
      if (Date.now() > end) throw error
    }
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (const end = Date.now() + LIMIT; !condition(); await sleep(BETWEEN_LOOKS))
    if (Date.now() > end) throw new Error(`it did not come to: ${what}`)
}
