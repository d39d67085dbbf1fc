/**
 * The one way in which a command answers: words for a person, or one JSON document with `--json`; and the exit code.
 * The envelope is documented in docs/json.md and checked against schemas.ts by the tests.
 */
import { ERRORS, Exit, HotpatchError } from '../errors.ts'
import { VERSION } from '../version.ts'
import type { Context } from './context.ts'
import { errorLines } from './words.ts'

export interface Answer {
  /** What came out, as a word that scripts can test: `applied`, `already-applied`, `nothing-to-patch`, … */
  readonly outcome: string
  readonly exit: number
  /** The particulars, as schemas.ts describes them for this command. */
  readonly result: object
  /** The same for a person, line by line. */
  readonly words: readonly string[]
}

export interface JsonFlag {
  readonly json: boolean
}

export const jsonFlag = {
  kind: 'boolean',
  brief: 'Print one JSON document instead of words (docs/json.md)',
  default: false,
  withNegated: false,
} as const

/** Runs a command's body and prints its answer or its error. Sets the exit code; throws nothing. */
export async function answer(context: Context, command: string, flags: JsonFlag, body: () => Answer | Promise<Answer>): Promise<void> {
  try {
    const { outcome, exit, result, words } = await body()
    context.process.exitCode = exit
    context.process.stdout.write(flags.json ? document({ command, outcome, exit, result }) : lines(words))
  } catch (cause) {
    const error = asHotpatchError(cause)
    context.process.exitCode = error.exit
    if (flags.json) context.process.stdout.write(errorDocument(command, error))
    else context.process.stderr.write(lines(errorLines(error)))
  }
}

const lines = (words: readonly string[]): string => words.map((line) => `${line}\n`).join('')

const document = (body: object): string => `${JSON.stringify({ hotpatch: VERSION, ...body }, replacer, 2)}\n`

/** Addresses are bigint inside; outside they are hexadecimal strings, since JSON's numbers lose bits. */
function replacer(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  return value
}

export const errorDocument = (command: string, error: HotpatchError): string =>
  document({ command, outcome: 'error', exit: error.exit, error: jsonError(error) })

export const jsonError = (error: HotpatchError) => ({
  code: error.code,
  what: ERRORS[error.code].what,
  detail: error.detail,
  todo: error.todo,
  facts: error.facts,
})

export function asHotpatchError(cause: unknown): HotpatchError {
  if (cause instanceof HotpatchError) return cause
  const text = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
  return new HotpatchError('DEFECT', text, { cause })
}

export const done = (outcome: string, result: object, words: readonly string[]): Answer => ({ outcome, exit: Exit.done, result, words })
