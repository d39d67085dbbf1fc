/**
 * Real servers, seen by a client: vulnerable before, fixed once the patch is applied, vulnerable after rollback, while a connection is kept.
 *
 *   npm run cves -- servers [CVE ...] [--short] [--target elf|pe|all]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { corpusOf, hotpatchHere, type Target, type TargetName, targets } from '../../../demo/target.ts'
import { freePort } from '../../../tools/free-port.ts'
import { say, verdict } from '../../../tools/paper.ts'
import type { Ran } from '../../../tools/run.ts'
import { wineAvailable } from '../../../tools/wine.mjs'
import { type BuiltEntry, builtEntry } from '../build.ts'
import { untilListening } from './client.ts'
import { keep, type ServerSubject, subjects } from './subjects.ts'

/** The exit code: 1 where a server did not behave as it must, or a target that was asked for cannot be had. */
export async function runServers(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { target: { type: 'string', default: 'all' }, short: { type: 'boolean', default: false } },
  })
  const wine = wineAvailable()
  let failures = 0
  for (const target of Object.values(targets)) {
    if (values.target !== 'all' && values.target !== target.name) continue
    if (target.name === 'pe' && !wine.available) {
      verdict(values.target === 'all', `${target.title} is left out: ${wine.reason}`)
      failures += values.target === 'all' ? 0 : 1
      continue
    }
    const wanted = values.short ? SHORT : positionals
    for (const subject of chosen(wanted, target.name)) failures += (await passes(subject, target)) ? 0 : 1
    await target.close()
  }
  return failures === 0 ? 0 : 1
}

/** What is built within a minute or two where nothing is kept yet. */
const SHORT: readonly string[] = ['CVE-2026-63382', 'CVE-2026-42945']

const chosen = (cves: readonly string[], target: TargetName): ServerSubject[] =>
  subjects.filter((subject) => subject.targets.includes(target) && (cves.length === 0 || cves.includes(subject.cve)))

async function passes(subject: ServerSubject, target: Target): Promise<boolean> {
  const title = `${subject.cve} in ${subject.title} (${target.title})`
  const place = mkdtempSync(join(tmpdir(), 'hotpatch-server-'))
  try {
    const steps = await shown(subject, target, place)
    verdict(true, title)
    for (const step of steps) say(`    ${step}`)
    return true
  } catch (error) {
    verdict(false, `${title}: ${error instanceof Error ? error.message : error}`)
    return false
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

/** What was seen, step by step. Throws where it is not what must be. */
async function shown(subject: ServerSubject, target: Target, place: string): Promise<string[]> {
  const built = await builtEntry(subject.entry, corpusOf(target))
  const patch = join(place, `fix${target.patchSuffix}`)
  await buildPatch(subject, built, patch)
  const port = await freePort()
  const server = await subject.start(target, port, place, built.before)
  try {
    await untilListening(port, server)
    const kept = await keep(port, subject.kept)
    const steps: string[] = []
    const look = async (when: string, vulnerable: boolean) => {
      const is = await subject.isVulnerable(port)
      if (is !== vulnerable) throw new Error(`${when} it is ${is ? 'vulnerable' : 'fixed'}`)
      if (!subject.kept.answer.test(await kept.ask(subject.kept.question, subject.kept.answer)))
        throw new Error(`${when} the connection that was kept is gone`)
      if (!server.running()) throw new Error(`${when} the server has ended: ${server.output()}`)
      steps.push(`${when}: ${is ? 'vulnerable' : 'fixed'}; the connection that was kept answers`)
    }
    const which = subject.processes === undefined ? ['--pid', `${server.pid}`] : ['--all']
    const hotpatch = async (...args: readonly string[]) => must(await target.hotpatch(args))
    const apply = ['apply', ...which, '--allow-unsigned', '--timeout', '60', target.path(patch)]
    await look('before', true)
    requireProcesses(subject, await hotpatch(...apply, '--json'))
    await look('applied', false)
    await hotpatch('verify', ...which, ...(subject.processes === undefined ? [] : ['--id', subject.cve]))
    await hotpatch('rollback', ...which, '--timeout', '60', '--id', subject.cve)
    await look('rolled back', true)
    await hotpatch(...apply)
    await look('applied again', false)
    kept.close()
    return steps
  } finally {
    // A master ends its workers when it is asked to end, not when it is killed.
    if (subject.processes !== undefined && server.running()) await ended(server.linuxPid, server)
    await server.stop()
  }
}

async function buildPatch({ image, cve }: ServerSubject, { before, after, images }: BuiltEntry, out: string): Promise<void> {
  const base = images.find(({ file }) => image.test(file))
  if (base === undefined) throw new Error(`the build has no image ${image}`)
  const objects = ['--before', join(before, base.objects), '--after', join(after, base.objects)]
  must(await hotpatchHere(['build', ...objects, '--base', join(before, base.file), '-o', out, '--id', cve, '--cve', cve]))
}

function must({ status, stdout, stderr }: Ran): string {
  if (status !== 0) throw new Error(`hotpatch ended with ${status}: ${stderr}${stdout}`)
  return stdout
}

/** Every one of them, or the hole would be open in the rest. */
function requireProcesses({ processes }: ServerSubject, answer: string): void {
  if (processes === undefined) return
  const { counts } = JSON.parse(answer).result
  if (counts.applied !== processes) throw new Error(`${processes} processes were to be patched: ${JSON.stringify(counts)}`)
}

async function ended(pid: number, server: { running(): boolean }): Promise<void> {
  process.kill(pid, 'SIGTERM')
  for (const deadline = Date.now() + 20_000; server.running() && Date.now() < deadline; )
    await new Promise((resolve) => setTimeout(resolve, 50))
}
