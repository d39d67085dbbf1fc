/** Compiling and starting the programs of test/targets that live processes are tested with. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseStat, parseStatus, readProc } from '../../src/process/linux/proc.ts'
import { inBackground } from '../brought.ts'
import { compileTarget, GCC } from './programs.ts'
import { until } from './until.ts'

export { until } from './until.ts'

/** Made when it is first needed: not every file that takes something from here starts programs. */
const folder = join(tmpdir(), `hotpatch-targets-${randomUUID()}`)
const started = new Set<number>()
/** The folders of what was compiled, by its name. */
const programs = new Map<string, string>()

/** Behind the last test of each file: a hook in here would be that of the first file alone where one process runs several. */
export function endTargets(): void {
  for (const pid of started) killNow(pid)
  started.clear()
  for (const made of [folder, ...programs.values()]) rmSync(made, { recursive: true, force: true })
  programs.clear()
}

/** The path of the program made of test/targets/NAME. */
export function compile(source: string, name: string, options: readonly string[] = [], compiler = GCC): string {
  const there = programs.get(name) ?? compileTarget({ source, name, options, compiler })
  programs.set(name, there)
  return join(there, name)
}

let serial = 0

export interface Started {
  readonly pid: number
  /** What it has written to its standard output so far. */
  output(): string
  kill(): Promise<void>
}

/**
 * Starts a program that is not our child (a shell that ends at once is its parent): the system tells a parent and a tracer of stops by
 * the same call.
 */
export async function startApart(program: string, args: readonly string[] = [], prefix = ''): Promise<Started> {
  // Where all test files are run by one process, another one has deleted it.
  mkdirSync(folder, { recursive: true })
  const out = join(folder, `out-${++serial}`)
  const script = `out=$1; shift; ${prefix} "$@" >"$out" 2>&1 </dev/null & echo $!`
  const shell = inBackground(() => spawn('sh', ['-c', script, 'sh', out, program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] }))
  let text = ''
  for await (const chunk of shell.stdout) text += chunk
  const pid = Number(text)
  started.add(pid)
  return {
    pid,
    output: () => (existsSync(out) ? readFileSync(out, 'utf8') : ''),
    async kill() {
      killNow(pid)
      // Its main thread is a zombie while others still end, and memory goes with the last of them.
      await until(`process ${pid} has ended`, () => !isAlive(pid) && (readProc(`/proc/${pid}/maps`) ?? '') === '')
      started.delete(pid)
    },
  }
}

export function isAlive(pid: number): boolean {
  const state = parseStat(readProc(`/proc/${pid}/stat`) ?? '')?.state
  return state !== undefined && state !== 'Z' && state !== 'X'
}

/** The pid of what traces the process' main thread, or 0. */
export const tracerPid = (pid: number): number => Number(parseStatus(readProc(`/proc/${pid}/status`) ?? '').get('TracerPid') ?? 0)

/** A thread that did not stop in time is attached still when a call returns, and let go some milliseconds later. */
export const untilFree = (pid: number): Promise<void> => until(`nothing traces process ${pid}`, () => tracerPid(pid) === 0)

function killNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}
