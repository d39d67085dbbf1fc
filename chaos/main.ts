/**
 * A server under load, whose patches come and go while engines are killed at random instants.
 *
 *   npm run chaos -- [--target elf|pe|all] [--cycles 2000] [--seed N] [--minutes 40]
 *
 * Under Wine a tenth of the cycles. Everything is on the loopback interface. Exit code 0 only if no request failed, no connection and no target was
 * lost, and every command ended as it may.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { buildServer } from '../demo/server/build.ts'
import { ServerLoad } from '../demo/server/load.ts'
import { type Server, type Target, type TargetName, targets } from '../demo/target.ts'
import { buildPatch } from '../src/builder/build.ts'
import { heading, note, number, say, verdict } from '../tools/paper.ts'
import { clone, workshop } from '../tools/places.ts'
import { wineAvailable } from '../tools/wine.mjs'
import { newTally, runCycles, type Tally } from './cycles.ts'
import { compileWorker, Engines } from './engines.ts'
import { randomFrom } from './random.ts'

const USAGE = 'usage: npm run chaos -- [--target elf|pe|all] [--cycles N] [--seed N] [--minutes N]\n'
const TARGETS: Readonly<Record<string, readonly TargetName[]>> = { elf: ['elf'], pe: ['pe'], all: ['elf', 'pe'] }
const CONNECTIONS = 200
/** Each applied patch redirects the same functions: cumulative ones. */
const PATCHES = 3
/** Cycles of a hundred in which the engine is killed. A start of an engine in Wine takes long. */
const KILLS: Readonly<Record<TargetName, number>> = { elf: 15, pe: 15 }
/** Milliseconds between a connection's answers and its next requests. In Wine each costs more. */
const PAUSE: Readonly<Record<TargetName, number>> = { elf: 200, pe: 500 }
/** Of the cycles, where the time is over before all were made. */
const ENOUGH = 0.2
const SHARE: Readonly<Record<TargetName, number>> = { elf: 1, pe: 0.1 }

// Leaving in order: what was started ends with this process.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(signal, () => process.exit(code))

process.exitCode = await main(process.argv.slice(2))

interface Wish {
  readonly targets: readonly TargetName[]
  readonly strict: boolean
  readonly cycles: number
  readonly seed: number
  readonly minutes: number
}

function understand(args: readonly string[]): Wish | undefined {
  try {
    const text = { type: 'string' } as const
    const { values } = parseArgs({ args: [...args], options: { target: text, cycles: text, seed: text, minutes: text } })
    const named = TARGETS[values.target ?? 'all']
    const numbers = { cycles: Number(values.cycles ?? 2000), minutes: Number(values.minutes ?? 40) }
    const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32))
    const valid = [...Object.values(numbers), seed + 1].every((value) => Number.isSafeInteger(value) && value > 0)
    return named && valid ? { targets: named, strict: values.target !== undefined, seed, ...numbers } : undefined
  } catch {
    // An option that there is not.
    return undefined
  }
}

async function main(args: readonly string[]): Promise<number> {
  const wish = understand(args)
  if (wish === undefined) {
    process.stderr.write(USAGE)
    return 2
  }
  compileWorker()
  let good = true
  for (const name of wish.targets) {
    const target = targets[name]
    const obstacle = obstacleOf(target)
    if (obstacle !== undefined) {
      good &&= !wish.strict
      verdict(!wish.strict, `${target.title} is left out: ${obstacle}`)
      continue
    }
    try {
      good = (await torment(target, wish)) && good
    } catch (error) {
      good = false
      verdict(false, error instanceof Error ? (error.stack ?? error.message) : String(error))
    } finally {
      await target.close()
    }
  }
  return good ? 0 : 1
}

function obstacleOf(target: Target): string | undefined {
  const { status } = spawnSync(process.execPath, [join(clone, 'tools/setup.mjs'), target.setup], { stdio: ['ignore', 2, 2] })
  if (status !== 0) return `the set-up "${target.setup}" could not be completed (see above)`
  if (target.name !== 'pe') return undefined
  const wine = wineAvailable()
  return wine.available ? undefined : `no Wine (${wine.reason})`
}

/** Whether everything went well. */
async function torment(target: Target, { cycles, seed, minutes }: Wish): Promise<boolean> {
  const wanted = Math.max(1, Math.round(cycles * SHARE[target.name]))
  heading(`${target.title}: ${number(wanted)} cycles, ${CONNECTIONS} connections, seed ${seed}`)
  const place = join(workshop, 'chaos', target.name)
  const patches = await preparePatches(target, place)
  const server = await target.start(join(place, `server${target.programSuffix}`), ['0'])
  const tally = newTally()
  try {
    const load = await ServerLoad.start(await portOf(server), { connections: CONNECTIONS, pipelined: 2, pause: PAUSE[target.name] })
    load.begin('chaos')
    const engines = await Engines.open(target.name)
    try {
      const until = Date.now() + minutes * 60_000
      const trial = {
        target: target.name,
        server,
        engines,
        patches,
        random: randomFrom(seed),
        cycles: wanted,
        until,
        killsPerCent: KILLS[target.name],
      }
      await runCycles(trial, tally, told(wanted))
      // What the last switch did to a request shows.
      await sleep(500)
    } finally {
      await engines.close()
    }
    if (server.running()) await load.stop()
    return report(tally, load, wanted)
  } finally {
    await server.stop()
    rmSync(place, { recursive: true, force: true })
  }
}

async function preparePatches(target: Target, place: string): Promise<string[]> {
  const builds = await buildServer(target, place)
  mkdirSync(join(place, 'patches'), { recursive: true })
  return Array.from({ length: PATCHES }, (_, index) => {
    const id = `chaos-${index + 1}`
    const built = buildPatch({ ...builds, sequence: index + 1, id, description: 'the length that a client claims is checked', cves: [] })
    if (built.outcome !== 'built') throw new Error('the builder found nothing to patch')
    const file = join(place, 'patches', `${id}${target.patchSuffix}`)
    writeFileSync(file, built.image)
    return target.path(file)
  })
}

async function portOf(server: Server): Promise<number> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline && server.running(); await sleep(20)) {
    const port = /listening on 127\.0\.0\.1:(\d+)/.exec(server.output())?.[1]
    if (port !== undefined) return Number(port)
  }
  throw new Error(`the server did not come up: ${server.output()}`)
}

/** A line now and then. */
function told(wanted: number): (tally: Tally) => void {
  let last = Date.now()
  return ({ cycles, killed, busy, failures }) => {
    if (Date.now() - last < 15_000) return
    last = Date.now()
    note(`${number(cycles + 1)} of ${number(wanted)} cycles, ${killed} engines killed, ${busy} busy, ${failures.length} failures`)
  }
}

function report(tally: Tally, load: ServerLoad, wanted: number): boolean {
  const sum = (what: 'answered' | 'failed' | 'dropped') => load.phases.reduce((total, phase) => total + phase[what], 0)
  const failures = [...tally.failures]
  if (tally.cycles < wanted * ENOUGH) failures.push(`only ${tally.cycles} of ${wanted} cycles were made in the time that there was`)
  else if (tally.cycles < wanted) note(`after ${tally.cycles} of ${wanted} cycles the time was over (--minutes)`)
  for (const phase of load.phases) if (phase.firstFailure !== undefined) failures.push(phase.firstFailure)
  const slowest = Math.max(...load.phases.map((phase) => phase.slowest))
  const lines: [string, number | string][] = [
    ['requests answered', sum('answered')],
    ['requests failed', sum('failed')],
    ['connections lost', sum('dropped')],
    ['targets lost', tally.targetsLost],
    ['slowest answer', `${Math.round(slowest)} ms`],
    ['cycles', tally.cycles],
    ...[...tally.outcomes].sort().map(([outcome, times]): [string, number] => [`  ${outcome}`, times]),
    ['cycles refused as busy', tally.busy],
    ['engines killed', tally.killed],
    ['steps that the next engine finished or took back', tally.recovered],
    ['mappings given back', tally.reclaimed],
    ['longest stop', `${Math.round(tally.longestStop)} µs`],
  ]
  const width = Math.max(...lines.map(([name]) => name.length))
  for (const [name, value] of lines) say(`  ${name.padEnd(width)}  ${typeof value === 'number' ? number(value) : value}`)
  for (const failure of failures.slice(0, 20)) verdict(false, failure)
  const good = failures.length === 0 && sum('failed') === 0 && sum('dropped') === 0 && tally.targetsLost === 0
  verdict(good, good ? 'no request failed, no connection and no target was lost' : 'see above')
  return good
}
