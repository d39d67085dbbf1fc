/** Builds the server of target/ with real compilers, its patch with hotpatch's own builder, and runs it under load. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPatch } from '../../src/builder/build.ts'
import { inBackground, kept, LIGHT_LOAD, made, within } from '../brought.ts'
import { until } from '../process/until.ts'
import type { Flavour } from './flavours.ts'

const SOURCES = fileURLToPath(new URL('target/', import.meta.url))

export interface Built {
  readonly folder: string
  readonly server: string
  patch(options?: { id?: string; sequence?: number }): Uint8Array
}

export function build({ compiler, flags }: Flavour): Built {
  const folder = made('engine', { compiler, flags }, (into) => compile({ compiler, flags }, into))
  const server = join(folder, 'server')
  const build = ({ id, sequence }: { id: string; sequence: number }): Uint8Array => {
    const built = buildPatch({
      before: join(folder, 'before'),
      after: join(folder, 'after'),
      base: server,
      sequence,
      id,
      description: 'the fixed greeting',
      cves: ['CVE-2026-0001'],
    })
    if (built.outcome !== 'built') throw new Error('the builder found nothing to patch')
    return built.image
  }
  return {
    folder,
    server,
    patch({ id = 'server-1', sequence = 1 } = {}) {
      return kept(folder, `${id}-${sequence}.so`, () => build({ id, sequence }))
    },
  }
}

function compile({ compiler, flags }: Flavour, folder: string): void {
  const common = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', ...flags]
  for (const [side, fix] of [
    ['before', []],
    ['after', ['-DFIXED']],
  ] as const) {
    mkdirSync(join(folder, side))
    for (const source of ['handlers', 'server'])
      execFileSync(compiler, [...common, ...fix, '-c', `${SOURCES}${source}.c`, '-o', join(folder, side, `${source}.o`)], { cwd: SOURCES })
  }
  const objects = ['handlers', 'server'].map((name) => join(folder, 'before', `${name}.o`))
  execFileSync(compiler, [...flags, '-pthread', ...objects, '-Wl,--build-id=sha1', '-o', join(folder, 'server')])
}

const FIELDS = ['pid', 'running', 'old', 'fixed', 'bad', 'hits', 'longestPauseNs'] as const
type Field = (typeof FIELDS)[number]

/** A server that counts in a file of u64s, which have the names `F`. */
export interface Running<F extends string = Field> {
  readonly pid: number
  stats(): Readonly<Record<F, number>>
  /** When each worker has left what it is in, and gone on. */
  goesOn(): Promise<void>
  /** What was counted within the next `ms`, and until each worker has made so many rounds. */
  during(ms: number, rounds?: number): Promise<Readonly<Record<F, number>>>
  stop(): Promise<void>
}

/** After so many rounds a worker has left what it was in, and one more has been counted. */
const LEFT = 2

let runs = 0

export const run = (built: Pick<Built, 'folder' | 'server'>, threads: number): Promise<Running> => runCounting(built, threads, FIELDS)

/**
 * Under a shell of its own: the event loop of this process would take the stops of a traced child for its own business.
 * @param load further arguments of the server
 * @param fields `pid` and `running`, the number of threads that have begun, are among them
 */
export async function runCounting<F extends string>(
  { folder, server }: Pick<Built, 'folder' | 'server'>,
  threads: number,
  fields: readonly F[],
  load: readonly string[] = LIGHT_LOAD,
): Promise<Running<F>> {
  const file = join(folder, `stats-${++runs}`)
  const shell = inBackground(() =>
    spawn('/bin/sh', ['-c', '"$0" "$@" & wait', server, file, String(threads), ...load], { stdio: 'ignore' }),
  )
  const ended = new Promise<void>((resolve) => shell.once('exit', () => resolve()))
  const word = (data: Buffer, index: number): number => Number(data.readBigUInt64LE(8 * index))
  const stats = (): Record<F, number> => {
    const data = readFileSync(file)
    return Object.fromEntries(fields.map((field, i) => [field, word(data, i)])) as Record<F, number>
  }
  // What each worker has counted lies behind the fields.
  const roundsOf = (): number[] => {
    const data = readFileSync(file)
    return Array.from({ length: threads }, (_, thread) => word(data, fields.length + thread))
  }
  const goesOnFrom = (before: readonly number[], rounds: number) =>
    until(`each worker has made ${rounds} rounds`, () => roundsOf().every((now, thread) => now >= (before[thread] ?? 0) + rounds))
  const deadline = Date.now() + within(10_000)
  while (!started(stats, threads)) {
    if (Date.now() > deadline) throw new Error('the server did not start')
    await sleep(10)
  }
  const pid = counted(stats(), 'pid')
  return {
    pid,
    stats,
    goesOn: () => goesOnFrom(roundsOf(), LEFT),
    async during(ms, rounds = LEFT) {
      const [before, from] = [stats(), roundsOf()]
      await sleep(ms)
      await goesOnFrom(from, rounds)
      const after = stats()
      return Object.fromEntries(fields.map((field) => [field, after[field] - before[field]])) as Record<F, number>
    },
    async stop() {
      process.kill(pid, 'SIGKILL')
      await ended
      rmSync(file, { force: true })
    },
  }
}

const counted = (stats: Readonly<Record<string, number>>, field: string): number => stats[field] ?? 0

function started(stats: () => Readonly<Record<string, number>>, threads: number): boolean {
  try {
    const now = stats()
    return counted(now, 'pid') !== 0 && counted(now, 'running') === threads
  } catch {
    return false
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
