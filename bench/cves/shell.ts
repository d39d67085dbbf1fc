/** Shell commands of the builder. Everything they print goes to a log. */
import { spawnSync } from 'node:child_process'
import { appendFileSync } from 'node:fs'

export interface Place {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
  readonly log?: string
}

const LIMIT = 30 * 60_000

/** Runs a script with bash; any failing command ends it. Gives what it printed; throws with the last of it when it fails. */
export function shell(script: string, { cwd, env = {}, log }: Place): string {
  const ran = spawnSync('bash', ['-e', '-o', 'pipefail', '-c', script], {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: LIMIT,
  })
  const printed = `${ran.stdout ?? ''}${ran.stderr ?? ''}`
  if (log !== undefined) appendFileSync(log, `\n$ ${script}\n${printed}`)
  if (ran.status !== 0) throw new Error(`failed in ${cwd}: ${script.slice(0, 300)}\n${printed.slice(-2000)}`)
  return ran.stdout
}
