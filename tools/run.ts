/** Programs run to their end without blocking, for everything around the product: demo, benchmarks, CI. */
import { spawn } from 'node:child_process'

export interface Ran {
  /** Exit code; null when a signal or the time limit ended it. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
  /** From start to exit. */
  readonly milliseconds: number
}

export interface RunOptions {
  readonly cwd?: string
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Milliseconds after which the program is killed. */
  readonly timeout?: number
}

/** Runs a program to its end and keeps what it writes. Rejects only when it cannot be started. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const began = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.timeout === undefined ? {} : { timeout: options.timeout, killSignal: 'SIGKILL' }),
    })
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []]
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, stdout: text(stdout), stderr: text(stderr), milliseconds: performance.now() - began }))
  })
}

const text = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString('utf8')

/** The same for programs that must succeed: throws with what the program wrote. */
export async function mustRun(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const ran = await run(program, args, options)
  if (ran.status !== 0) throw new Error(`${[program, ...args].join(' ')} ended with ${ran.status}\n${ran.stdout}${ran.stderr}`.trimEnd())
  return ran
}
