/** The command line as scripts use it. */
import type { Target } from '../../demo/target.ts'
import { hotpatchHere } from '../../demo/target.ts'
import { requireDocumented } from '../../src/cli/schemas.ts'
import type { Ran } from '../../tools/run.ts'

export interface Document {
  readonly hotpatch: string
  readonly command: string
  readonly outcome: string
  readonly exit: number
  // biome-ignore lint/suspicious/noExplicitAny: what it holds is what the tests look at
  readonly result?: any
  // biome-ignore lint/suspicious/noExplicitAny: see above
  readonly error?: any
}

/** With --json. Fails unless there is one document, and it names the exit code that there was. */
export async function json(...args: readonly string[]): Promise<Document> {
  // What is behind `--` is another program's.
  const own = args.includes('--') ? args.indexOf('--') : args.length
  return document(await hotpatchHere([...args.slice(0, own), '--json', ...args.slice(own)]))
}

/** The same where the process runs. */
export const jsonBeside = async (target: Target, ...args: readonly string[]): Promise<Document> =>
  document(await target.hotpatch([...args, '--json']))

function document({ status, stdout, stderr }: Ran): Document {
  if (stderr !== '') throw new Error(`hotpatch --json wrote to standard error: ${stderr}\n${stdout}`)
  const parsed: Document = JSON.parse(stdout)
  requireDocumented(parsed)
  if (parsed.exit !== status) throw new Error(`the document says exit ${parsed.exit}, it was ${status}`)
  return parsed
}
