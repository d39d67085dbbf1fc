/**
 * The main job, shown: a running server is hotpatched under load, rolled back and patched again.
 *
 *   npm run demo -- [mosquitto] [--target elf|pe|all] [--arch x64|arm64]
 *
 * Without --target: Linux, and Windows where Wine can be had. On arm64: the server in an emulated machine, without --target on Linux. Exit code 0 when everything came out as it must.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pc from 'picocolors'
import { heading, verdict } from '../tools/paper.ts'
import { clone } from '../tools/places.ts'
import { wineAvailable } from '../tools/wine.mjs'
import { arm64Target, arm64WindowsTarget } from './arm64.ts'
import { mosquittoSubject } from './mosquitto/subject.ts'
import { printResult } from './result.ts'
import { serverSubject } from './server/subject.ts'
import { type Told, tell } from './story.ts'
import type { Subject } from './subject.ts'
import { type Target, type TargetName, targets } from './target.ts'

const USAGE = `usage: npm run demo -- [mosquitto] [--target elf|pe|all] [--arch x64|arm64]\n`

interface Wish {
  readonly subject: Subject
  /** Tasks of tools/setup.mjs that the subject needs beside the target's. */
  readonly setup: Readonly<Record<TargetName, readonly string[]>>
  readonly targets: readonly Target[]
  /** Whether the person asked for exactly these targets, so that none may be left out. */
  readonly strict: boolean
}

const ON_ARM64: Readonly<Record<TargetName, Target>> = { elf: arm64Target, pe: arm64WindowsTarget }

const TARGETS: Readonly<Record<string, readonly TargetName[]>> = { elf: ['elf'], pe: ['pe'], all: ['elf', 'pe'] }

const SUBJECTS: Readonly<Record<string, Pick<Wish, 'subject' | 'setup'>>> = {
  server: { subject: serverSubject, setup: { elf: [], pe: [] } },
  mosquitto: { subject: mosquittoSubject, setup: { elf: ['mosquitto'], pe: ['mosquitto-pe'] } },
}

// Leaving in order: what was started ends with this process.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(signal, () => process.exit(code))

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const wish = understand(args)
  if (wish === undefined) {
    process.stderr.write(USAGE)
    return 2
  }
  const told: { target: Target; story: Told }[] = []
  let missing = false
  for (const target of wish.targets) {
    const obstacle = makeReady([target.setup, ...wish.setup[target.name]]) ?? obstacleOf(target)
    if (obstacle === undefined) told.push({ target, story: await toldOn(target, wish.subject) })
    else {
      missing ||= wish.strict
      verdict(!wish.strict, `${target.title} is left out: ${obstacle}`)
    }
  }
  heading(wish.subject.title)
  for (const { target, story } of told) printResult(target.title, story.rows)
  const failures = told.flatMap(({ target, story }) => story.failures.map((failure) => `${target.title}: ${failure}`))
  for (const failure of failures) verdict(false, failure)
  if (failures.length === 0 && told.length > 0)
    verdict(true, pc.bold('hotpatched, rolled back and hotpatched again: no restart, no lost request'))
  return failures.length > 0 || missing || told.length === 0 ? 1 : 0
}

function understand(args: readonly string[]): Wish | undefined {
  const given = parsed(args)
  if (given === undefined) return undefined
  const { values, positionals } = given
  const chosen = SUBJECTS[positionals[0] ?? 'server']
  const named = TARGETS[values.target ?? 'all']
  if (chosen === undefined || named === undefined || positionals.length > 1) return undefined
  const strict = values.target !== undefined
  if (values.arch === 'x64') return { ...chosen, targets: named.map((name) => targets[name]), strict }
  // What has no ARM64 form yet is not understood, rather than shown on another processor.
  if (values.arch !== 'arm64' || chosen !== SUBJECTS.server) return undefined
  // Each is a machine of its own, so without --target it is the quicker one.
  const machines = strict ? named : (['elf'] as const)
  return { ...chosen, targets: machines.map((name) => ON_ARM64[name]), strict: true }
}

function parsed(args: readonly string[]) {
  try {
    const options = { target: { type: 'string' }, arch: { type: 'string', default: 'x64' } } as const
    return parseArgs({ args: [...args], allowPositionals: true, options })
  } catch {
    // An option that there is not.
    return undefined
  }
}

async function toldOn(target: Target, subject: Subject): Promise<Told> {
  try {
    return await tell(subject, target)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    verdict(false, why)
    return { rows: [], failures: [why] }
  } finally {
    await target.close()
  }
}

/** Undefined when everything is there now; otherwise what is in the way. */
function makeReady(tasks: readonly string[]): string | undefined {
  for (const task of tasks) {
    const { status } = spawnSync(process.execPath, [join(clone, 'tools/setup.mjs'), task], { stdio: ['ignore', 2, 2] })
    if (status !== 0) return `the set-up "${task}" could not be completed (see above)`
  }
  return undefined
}

function obstacleOf(target: Target): string | undefined {
  if (target !== targets.pe) return undefined
  const wine = wineAvailable()
  return wine.available ? undefined : `no Wine (${wine.reason})`
}
