/** Programs of a build, with all that they print kept. */
import { spawn } from 'node:child_process'
import { createWriteStream, readFileSync } from 'node:fs'
import { finished } from 'node:stream/promises'
import { HotpatchError } from '../errors.ts'

export interface Running {
  readonly folder: string
  readonly environment: NodeJS.ProcessEnv
  /** File that takes what is printed, both streams in the order in which it came. */
  readonly log: string
}

/** Its exit code; a signal counts as 128 and its number does in a shell. Throws TOOL_MISSING. */
export async function run([program = '', ...args]: readonly string[], { folder, environment, log }: Running): Promise<number> {
  const file = createWriteStream(log)
  const child = spawn(program, args, { cwd: folder, env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [child.stdout, child.stderr]) stream.pipe(file, { end: false })
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', (cause: NodeJS.ErrnoException) =>
        reject(
          cause.code === 'ENOENT' || cause.code === 'EACCES'
            ? new HotpatchError('TOOL_MISSING', `${program} cannot be run`, { cause })
            : cause,
        ),
      )
      child.once('close', (code) => resolve(code ?? 128))
    })
  } finally {
    file.end()
    await finished(file)
  }
}

/** The last lines of a log. */
export function lastWords(log: string, lines: number): string {
  return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
}
