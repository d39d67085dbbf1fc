/** Runs hotpatch as a person would, showing each command. */
import { relative } from 'node:path'
import { command, note, quote } from '../tools/paper.ts'
import { clone } from '../tools/places.ts'
import { hotpatchHere, type Target } from './target.ts'

/** What `--json` prints: docs/json.md. */
export interface Answer {
  readonly outcome: string
  readonly exit: number
  /** Of apply and rollback. */
  readonly result?: {
    readonly functions?: readonly { readonly name: string }[]
    readonly stop?: { readonly stoppedMicroseconds: number; readonly threads: number; readonly tries: number }
  }
  readonly error?: { readonly code: string; readonly detail: string; readonly todo: string }
}

/** On the files: runs on this system for every target. Shows what hotpatch says in words; gives its exit code. */
export async function onFiles(args: readonly string[]): Promise<number | null> {
  const given = args.map(near)
  command(['bin/hotpatch', ...given])
  const { status, stdout, stderr, milliseconds } = await hotpatchHere(given)
  quote(clip(stdout + stderr, 24))
  note(`exit ${status} after ${Math.round(milliseconds)} ms`)
  return status
}

/** On the live process: runs where the process runs. Shows the answer in short. */
export async function onProcess(target: Target, args: readonly string[]): Promise<Answer> {
  const given = [...args.map(near), '--json']
  command([...target.command, ...given])
  const { status, stdout, stderr, milliseconds } = await target.hotpatch(given)
  const answer = parse(stdout) ?? {
    outcome: 'no-answer',
    exit: status ?? -1,
    error: { code: 'NO_ANSWER', detail: stdout + stderr, todo: '' },
  }
  if (answer.error !== undefined) quote(`${answer.error.code}: ${answer.error.detail}`)
  const functions = answer.result?.functions?.map(({ name }) => name) ?? []
  note(`${[answer.outcome, ...functions].join(' ')}; exit ${status} after ${Math.round(milliseconds)} ms`)
  return answer
}

/** As a person in the clone's folder would type it. */
const near = (path: string): string => (path.startsWith(`${clone}/`) ? relative(clone, path) : path)

function parse(text: string): Answer | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function clip(text: string, lines: number): string {
  const all = text.trimEnd().split('\n')
  return all.length <= lines ? all.join('\n') : [...all.slice(0, lines), `… ${all.length - lines} more lines`].join('\n')
}
