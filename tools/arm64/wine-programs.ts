/** Programs of Windows in the ARM64 machine, as the host has them run there (agent-client.ts). */

import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Ran } from '../run.ts'
import type { Arm64Machine } from './agent-client.ts'
import { WINDOWS_NODE } from './windows-image.ts'
import { WINE_ENVIRONMENT, WINE64 } from './wine-prefix.ts'

const FOLDER = '/root/wine'
const STARTER = `${FOLDER}/wine-start.mjs`
/** Milliseconds between two looks for a file. */
const LOOK = 300
const LIMIT = 120_000

/** As programs in Wine name it. */
export const onDriveZ = (path: string): string => `Z:${path.replaceAll('/', '\\')}`

/** Node fails with EBADF where it writes to a pipe; Wine's services would hold a pipe open, too. */
const TO_FILES = `unset TMPDIR; out=$(mktemp -p /tmp) err=$(mktemp -p /tmp); "$@" >$out 2>$err; status=$?; cat $out; cat $err >&2; rm $out $err; exit $status`
const TO_NOTHING = 'unset TMPDIR; exec "$@" >/dev/null 2>&1'

/** Runs a script with Windows' Node to its end. */
export const nodeInWine = (on: Arm64Machine, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
  on.run('sh', ['-c', TO_FILES, 'sh', WINE64, WINDOWS_NODE, ...args], { ...WINE_ENVIRONMENT, ...env })

export interface StartedInWine {
  /** As Windows knows it. */
  readonly pid: number
  /** Of what ends with the program, and of what shows its output: both are Linux'. */
  readonly starter: number
  readonly shower: number
}

let serial = 0

/** Starts a program that goes on. Throws where it does not come up. */
export async function startInWine(on: Arm64Machine, program: string, args: readonly string[]): Promise<StartedInWine> {
  const [pidFile, output] = [`${FOLDER}/pid-${++serial}`, `${FOLDER}/output-${serial}`]
  await on.bring(fileURLToPath(new URL('wine-start.mjs', import.meta.url)), STARTER, 0o644)
  await on.run('sh', ['-c', `: > ${output}`])
  const files = [STARTER, pidFile, output, program].map(onDriveZ)
  const starter = await on.start('sh', ['-c', TO_NOTHING, 'sh', WINE64, WINDOWS_NODE, ...files, ...args], WINE_ENVIRONMENT)
  for (const end = Date.now() + LIMIT; ; await sleep(LOOK)) {
    const { stdout } = await on.run('cat', [pidFile])
    if (stdout.endsWith('\n'))
      return { pid: Number(stdout), starter, shower: await on.start('busybox', ['tail', '-n', '+1', '-f', output]) }
    if (Date.now() > end || !(await on.look(starter)).running)
      throw new Error(`${program} did not come up in Wine: ${(await on.run('cat', [output])).stdout}`)
  }
}
