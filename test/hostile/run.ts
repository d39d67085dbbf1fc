/**
 * Feeds damaged files to every reader: `npx tsx test/hostile/run.ts [--count N] [--seed N]`. A reader may answer or throw HotpatchError;
 * anything else is a crasher: another exception, a hang, memory without bound. Crashers are written to crashers/ and replayed by the tests.
 *
 * The work is done in a child process with a bounded heap, which says what it is about to read; where it dies or falls silent, the parent
 * knows by what.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { mutate, Random } from './mutations.ts'
import { crash, SAMPLES } from './readers.ts'

export interface Crasher {
  readonly sample: string
  readonly seed: number
  readonly what: string
}

export interface HostileReport {
  readonly mutations: number
  readonly crashers: readonly Crasher[]
}

/** Per damaged file; ordinary ones take well below a millisecond. */
const SILENCE_MS = 20_000
const HEAP_MB = 512
/** How many files the child reads before it says where it is. */
const BATCH = 50

const damaged = (sample: { bytes: Uint8Array }, seed: number): Uint8Array => mutate(sample.bytes, new Random(seed))

/** In the child: from `seed` on, `count` files. */
function work(seed: number, count: number): void {
  for (let i = 0; i < count; i++) {
    if (i % BATCH === 0) process.send?.({ at: seed + i })
    const sample = SAMPLES[(seed + i) % SAMPLES.length] as (typeof SAMPLES)[number]
    const what = crash(sample, damaged(sample, seed + i))
    if (what !== undefined) process.send?.({ crasher: { sample: sample.name, seed: seed + i, what } })
  }
  process.send?.({ done: true })
}

/** Goes through `count` mutations, keeping on behind a child's death. `progress` is told of the mutations that are behind it. */
export async function runHostile(first: number, count: number, progress: (done: number) => void = () => {}): Promise<HostileReport> {
  const crashers: Crasher[] = []
  let next = first
  const end = first + count
  while (next < end) {
    const { reached, died, found } = await runChild(next, end - next, (at) => progress(at - first))
    crashers.push(...found)
    if (died === undefined) break
    // Somewhere in the batch that it was in: one by one.
    for (let seed = reached; seed < Math.min(reached + BATCH, end); seed++) {
      const alone = await runChild(seed, 1)
      if (alone.died === undefined) continue
      crashers.push({ sample: (SAMPLES[seed % SAMPLES.length] as { name: string }).name, seed, what: alone.died })
    }
    next = reached + BATCH
  }
  return { mutations: count, crashers }
}

interface ChildReport {
  /** The seed that it last said it was at. */
  readonly reached: number
  readonly died: string | undefined
  readonly found: Crasher[]
}

function runChild(seed: number, count: number, progress: (at: number) => void = () => {}): Promise<ChildReport> {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), ['--child', '--seed', String(seed), '--count', String(count)], {
    execArgv: [...process.execArgv, '--import', 'tsx', `--max-old-space-size=${HEAP_MB}`],
    stdio: ['ignore', 'inherit', 'ignore', 'ipc'],
  })
  const found: Crasher[] = []
  let reached = seed
  let finished = false
  let silent = false
  let timer: NodeJS.Timeout
  const listen = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      silent = true
      child.kill('SIGKILL')
    }, SILENCE_MS)
  }
  listen()
  child.on('message', (message: { at?: number; crasher?: Crasher; done?: boolean }) => {
    listen()
    if (message.at !== undefined) {
      reached = message.at
      progress(reached)
    }
    if (message.crasher !== undefined) found.push(message.crasher)
    if (message.done === true) {
      finished = true
      child.disconnect()
    }
  })
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => {
      clearTimeout(timer)
      const died = finished
        ? undefined
        : silent
          ? `silent for ${SILENCE_MS} ms`
          : `died of ${signal ?? `exit code ${code}`} (heap bound: ${HEAP_MB} MB)`
      resolve({ reached, died, found })
    })
  })
}

/** Keeps the damaged file for the replay. */
function keep({ sample: name, seed }: Crasher): string {
  const sample = SAMPLES.find((s) => s.name === name) as (typeof SAMPLES)[number]
  const bytes = damaged(sample, seed)
  const folder = new URL('crashers/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  const file = `${sample.reader}-${createHash('sha256').update(bytes).digest('hex').slice(0, 12)}.bin`
  writeFileSync(new URL(file, folder), bytes)
  return file
}

/** Milliseconds between two lines that say how far it is. */
const TELL_EVERY = 10_000

/** Says now and then, on standard error, how far a long run is. */
function teller(count: number): (done: number) => void {
  const began = performance.now()
  let told = began
  return (done) => {
    const now = performance.now()
    if (now - told < TELL_EVERY) return
    told = now
    console.error(`${done} of ${count} mutations after ${((now - began) / 1000).toFixed(0)} s`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { count: { type: 'string', default: '100000' }, seed: { type: 'string', default: '1' }, child: { type: 'boolean' } },
  })
  const seed = Number(values.seed)
  const count = Number(values.count)
  if (values.child) work(seed, count)
  else {
    const began = performance.now()
    const { mutations, crashers } = await runHostile(seed, count, teller(count))
    const seconds = (performance.now() - began) / 1000
    for (const crasher of crashers) console.log(`${keep(crasher)}: ${crasher.sample}, seed ${crasher.seed}: ${crasher.what}`)
    console.log(`${mutations} mutations of ${SAMPLES.length} samples in ${seconds.toFixed(0)} s: ${crashers.length} crashers`)
    process.exitCode = crashers.length === 0 ? 0 : 1
  }
}
