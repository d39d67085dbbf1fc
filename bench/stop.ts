/**
 * How long a target stands still for one switch, beside a C program that does no more than must be done (stop-floor.c): both on the
 * same process, in turns, so that whatever else the machine does meets both.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { linuxBackend } from '../src/process/linux/index.ts'

export interface StopResult {
  /** All of the target's, its main thread included. */
  readonly threads: number
  /** Medians of all rounds, microseconds. */
  readonly floor: number
  readonly hotpatch: number
  readonly ratio: number
}

export interface StopOptions {
  readonly threadCounts: readonly number[]
  /** Turns of each side. */
  readonly turns: number
  /** Stops in each turn. */
  readonly stops: number
}

export const STOP_OPTIONS: StopOptions = { threadCounts: [1, 10, 100, 1000], turns: 6, stops: 15 }

/** The goal: no more than this times the floor. */
export const STOP_GOAL = 1.5

const source = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const compile = (from: string, to: string): void => void execFileSync('gcc', ['-O2', '-pthread', source(from), '-o', to])

export async function measureStops(options: StopOptions = STOP_OPTIONS): Promise<StopResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-stop-'))
  try {
    const [floor, target] = [join(folder, 'stop-floor'), join(folder, 'target')]
    compile('stop-floor.c', floor)
    compile('../test/targets/probe.c', target)
    const results: StopResult[] = []
    for (const threads of options.threadCounts) results.push(await measure(floor, target, threads, options))
    return results
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Microseconds that a worker sleeps between two calls: few enough threads run at a time for the machine to keep up. */
const PAUSE = 10_000

async function measure(floorProgram: string, targetProgram: string, threads: number, options: StopOptions): Promise<StopResult> {
  // A main thread and one that watches the clock; of those asked for the rest are workers.
  const target = spawn(targetProgram, [String(Math.max(0, threads - 2)), String(PAUSE)], { stdio: ['pipe', 'pipe', 'inherit'] })
  try {
    const [line] = (await once(target.stdout, 'data')) as [Buffer]
    const { pid, probeFunction } = JSON.parse(line.toString()) as { pid: number; probeFunction: string }
    const address = BigInt(probeFunction)
    const process = linuxBackend.open(pid)
    const [floors, ours]: [number[], number[]] = [[], []]
    const bytes = process.read(address, 8)
    for (let turn = 0; turn < options.turns; turn++) {
      floors.push(...runFloor(floorProgram, pid, address, options.stops))
      for (let i = 0; i < options.stops; i++) {
        const request = { writes: [{ address, bytes }], inspect: () => undefined, stopTimeout: 10_000 }
        ours.push(process.switchCode(request).stoppedMicroseconds)
        await sleep(2)
      }
    }
    const count = process.threads().length
    process.close()
    const [floor, hotpatch] = [median(floors), median(ours)]
    return { threads: count, floor, hotpatch, ratio: hotpatch / floor }
  } finally {
    target.kill('SIGKILL')
  }
}

export const runFloor = (program: string, pid: number, address: bigint, stops: number): number[] =>
  execFileSync(program, [String(pid), address.toString(16), String(stops)], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map(Number)

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] as number
}

export function stopTable(results: readonly StopResult[]): string {
  const rows = results.map(({ threads, floor, hotpatch, ratio }) =>
    [String(threads), floor.toFixed(1), hotpatch.toFixed(1), ratio.toFixed(2), ratio <= STOP_GOAL ? 'yes' : 'no']
      .map((cell) => cell.padStart(10))
      .join(''),
  )
  return [['threads', 'C, µs', 'ours, µs', 'ratio', `<= ${STOP_GOAL}`].map((cell) => cell.padStart(10)).join(''), ...rows].join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(`${stopTable(await measureStops())}\n`)
