/** Builds the server of target/ with real compilers, its patch with hotpatch's own builder, and runs it under load. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPatch } from '../../src/builder/build.ts'

const SOURCES = fileURLToPath(new URL('target/', import.meta.url))

export interface Flavour {
  readonly compiler: string
  readonly flags: readonly string[]
}

export interface Built {
  readonly folder: string
  readonly server: string
  patch(options?: { id?: string; sequence?: number }): Uint8Array
}

export function build({ compiler, flags }: Flavour): Built {
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-engine-'))
  const common = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', ...flags]
  for (const [side, fix] of [
    ['before', []],
    ['after', ['-DFIXED']],
  ] as const) {
    mkdirSync(join(folder, side))
    for (const source of ['handlers', 'server'])
      execFileSync(compiler, [...common, ...fix, '-c', `${SOURCES}${source}.c`, '-o', join(folder, side, `${source}.o`)], { cwd: SOURCES })
  }
  const server = join(folder, 'server')
  const objects = ['handlers', 'server'].map((name) => join(folder, 'before', `${name}.o`))
  execFileSync(compiler, [...flags, '-pthread', ...objects, '-Wl,--build-id=sha1', '-o', server])
  return {
    folder,
    server,
    patch({ id = 'server-1', sequence = 1 } = {}) {
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
    },
  }
}

const FIELDS = ['pid', 'running', 'old', 'fixed', 'bad', 'hits', 'longestPauseNs'] as const
export type Stats = Readonly<Record<(typeof FIELDS)[number], number>>

export interface Running {
  readonly pid: number
  stats(): Stats
  /** What was counted within the next `ms`. */
  during(ms: number): Promise<Stats>
  stop(): Promise<void>
}

let runs = 0

/**
 * Under a shell of its own: the event loop of this process would take the stops of a traced child for its own business.
 */
export async function run({ folder, server }: Built, threads: number): Promise<Running> {
  const file = join(folder, `stats-${++runs}`)
  const shell = spawn('/bin/sh', ['-c', '"$0" "$1" "$2" & wait', server, file, String(threads)], { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => shell.once('exit', () => resolve()))
  const stats = (): Stats => {
    const data = readFileSync(file)
    return Object.fromEntries(FIELDS.map((field, i) => [field, Number(data.readBigUInt64LE(8 * i))])) as Stats
  }
  const deadline = Date.now() + 10_000
  while (!started(stats, threads)) {
    if (Date.now() > deadline) throw new Error('the server did not start')
    await sleep(10)
  }
  const { pid } = stats()
  return {
    pid,
    stats,
    async during(ms) {
      const before = stats()
      await sleep(ms)
      const after = stats()
      return Object.fromEntries(FIELDS.map((field) => [field, after[field] - before[field]])) as Stats
    },
    async stop() {
      process.kill(pid, 'SIGKILL')
      await ended
      rmSync(file, { force: true })
    },
  }
}

function started(stats: () => Stats, threads: number): boolean {
  try {
    const { pid, running } = stats()
    return pid !== 0 && running === threads
  } catch {
    return false
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
