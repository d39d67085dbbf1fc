/** The command line on live processes of Windows on ARM64: each command is a Node of its own, as an administrator's would be. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BusyProgram } from './busy-program.ts'

/** Files that the host has brought. */
export interface Brought {
  /** The command line as it is built, which Node loads without a snapshot, and the name by which the same is in the snapshot. */
  readonly built: string
  readonly joined: string
  /** A patch for the program, and one that takes its place. Nobody has signed them. */
  readonly patches: readonly [string, string]
}

export interface CliCase {
  readonly name: string
  /** How many processes of the program it wants. */
  readonly programs: number
  run(programs: readonly BusyProgram[], brought: Brought): Promise<void>
}

/** What `--json` prints: docs/json.md. */
interface Answer {
  readonly command: string
  readonly outcome: string
  readonly exit: number
  // biome-ignore lint/suspicious/noExplicitAny: what it holds is what the cases look at
  readonly result?: any
  readonly error?: { readonly code: string; readonly detail: string }
}

/** Seconds. Emulated, every try to meet a safe moment takes long. */
const PATIENT = ['--timeout', '300']

/** Node writes to files there: on a pipe it fails with EBADF in Wine. @param program what Node is given to run it */
function hotpatch(program: readonly string[], ...args: readonly string[]): Answer {
  const folder = mkdtempSync(join(tmpdir(), 'cli-'))
  const [out, err] = ['out', 'err'].map((name) => join(folder, name)) as [string, string]
  const files = [openSync(out, 'w'), openSync(err, 'w')] as const
  const { status } = spawnSync(process.execPath, [...program, ...args, '--json'], { stdio: ['ignore', ...files] })
  for (const file of files) closeSync(file)
  const [stdout, stderr] = [readFileSync(out, 'utf8'), readFileSync(err, 'utf8')]
  rmSync(folder, { recursive: true, force: true })
  const answer = stdout === '' ? undefined : (JSON.parse(stdout) as Answer)
  assert.ok(answer !== undefined, `hotpatch ${args.join(' ')} ended with ${status} and said nothing but: ${stderr}`)
  assert.equal(answer.exit, status)
  return answer
}

/** Started as this program was: from the snapshot. */
const joined = (brought: Brought): string[] => [...process.execArgv, brought.joined]

/** The outcome, and the exit code; where it failed the code of the error and what it says. */
const outcome = ({ outcome: word, exit, error }: Answer): string =>
  [word, exit, ...(error === undefined ? [] : [error.code, error.detail])].join(' ')

export const CLI_CASES: readonly CliCase[] = [
  {
    name: 'one process: check, apply, status, verify, apply once more, supersede, rollback',
    programs: 1,
    async run(programs, brought) {
      const [program] = programs as [BusyProgram]
      const [first, second] = brought.patches
      const pid = `${program.process.pid}`
      const on = (verb: string, ...args: readonly string[]) => hotpatch(joined(brought), verb, '--pid', pid, ...args)
      await program.grows('old')
      assert.equal(outcome(hotpatch([brought.built], 'check', '--pid', pid, first)), 'would-apply 0')
      assert.equal(on('apply', first).exit, 3, 'nobody has signed it')
      await program.answersOnly('old')

      assert.equal(outcome(on('apply', '--allow-unsigned', ...PATIENT, first)), 'applied 0')
      await program.answersOnly('fixed')
      const [{ patches }] = on('status').result.processes
      assert.deepEqual(
        patches.map(({ id, state }: { id: string; state: string }) => `${id} ${state}`),
        ['fix-1 applied'],
      )
      assert.equal(outcome(on('verify')), 'verified 0')
      assert.equal(outcome(on('apply', '--allow-unsigned', first)), 'already-applied 0')

      assert.equal(outcome(on('apply', '--allow-unsigned', ...PATIENT, second)), 'applied 0')
      await program.answersOnly('again')
      assert.equal(outcome(on('rollback', ...PATIENT)), 'rolled-back 0')
      await program.answersOnly('old')
      assert.equal(program.get('bad'), 0)
    },
  },
  {
    name: 'every process of the program at once: check, apply, verify and rollback --all',
    programs: 2,
    async run(programs, brought) {
      const [first] = brought.patches
      const everywhere = (verb: string, wanted: string, ...args: readonly string[]): void => {
        const answer = hotpatch(joined(brought), verb, '--all', ...args)
        assert.equal(outcome(answer), `${wanted} 0`)
        const reached = answer.result.processes as { pid: number; outcome: string }[]
        const found = reached.map(({ pid, outcome: word }) => `${pid} ${word}`).sort()
        assert.deepEqual(found, programs.map(({ process: { pid } }) => `${pid} ${wanted}`).sort())
      }
      everywhere('check', 'would-apply', first)
      everywhere('apply', 'applied', '--allow-unsigned', ...PATIENT, first)
      for (const program of programs) await program.answersOnly('fixed')
      everywhere('verify', 'verified', '--id', 'fix-1')
      everywhere('rollback', 'rolled-back', '--id', 'fix-1', ...PATIENT)
      for (const program of programs) await program.answersOnly('old')
    },
  },
]
