/**
 * How long a target stands still for one switch when every stack is checked, beside the same C program as in stop.ts, which looks at no
 * stack at all.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { frameModulesOf } from '../src/engine/stacks/frame-modules.ts'
import { prepareInspection, STACK_BYTES } from '../src/engine/stacks/inspection.ts'
import { rehearsalOf, rehearseInspection } from '../src/engine/stacks/rehearsal.ts'
import type { Process } from '../src/process/contract.ts'
import { linuxBackend } from '../src/process/linux/index.ts'
import { median, runFloor, STOP_OPTIONS, type StopOptions, type StopResult } from './stop.ts'

/** The goal, up to GOAL_THREADS: no more than this times the floor. */
export const STACKS_GOAL = 2
export const GOAL_THREADS = 100
/** The program's own frames on each stack; the C library adds four. */
const DEPTH = 20
/** Microseconds that a thread sleeps at a time. */
const PAUSE = 10_000

const source = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

export async function measureStackStops(options: StopOptions = STOP_OPTIONS): Promise<StopResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-stacks-'))
  try {
    const [floor, target] = [join(folder, 'stop-floor'), join(folder, 'deep')]
    execFileSync('gcc', ['-O2', source('stop-floor.c'), '-o', floor])
    execFileSync('gcc', ['-O2', '-pthread', source('deep.c'), '-o', target])
    const results: StopResult[] = []
    for (const threads of options.threadCounts) results.push(await measure(floor, target, threads, options))
    return results
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(floorProgram: string, program: string, threads: number, options: StopOptions): Promise<StopResult> {
  const target = spawn(program, [threads, DEPTH, PAUSE].map(String), { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const [line] = (await once(target.stdout, 'data')) as [Buffer]
    const { pid, probeFunction } = JSON.parse(line.toString()) as { pid: number; probeFunction: string }
    const address = BigInt(probeFunction)
    const process = linuxBackend.open(pid)
    const [floors, ours]: [number[], number[]] = [[], []]
    for (let turn = 0; turn < options.turns; turn++) {
      floors.push(...runFloor(floorProgram, pid, address, options.stops))
      for (let i = 0; i < options.stops; i++) {
        ours.push(stop(process, address))
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

/** As the engine does it (engine/switch.ts): everything that can be known beforehand is. */
function stop(process: Process, address: bigint): number {
  const regions = process.regions()
  const modules = frameModulesOf(process).of(regions)
  rehearseInspection('x64')
  const guards = [{ start: address + 1n, end: address + 16n, function: 0 }]
  const inspection = prepareInspection(process, { instructions: guards, frames: guards }, { modules, regions })
  const outcome = process.switchCode({
    writes: [{ address, bytes: process.read(address, 8) }],
    inspect: inspection.inspect,
    rehearse: rehearsalOf('x64', inspection),
    stopTimeout: 10_000,
    stacks: { bytes: STACK_BYTES, regions },
  })
  if (!outcome.switched || inspection.scanned > 0) throw new Error('a stack could not be unwound')
  return outcome.stoppedMicroseconds
}
