/** What the stand-ins noted: which call of a compiler made which object, and which linked which files into which image. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { isAbsolute, join, normalize } from 'node:path'

export interface Call {
  readonly folder: string
  readonly args: readonly string[]
}

/** All calls, by the time at which their process last noted something. */
export function readCalls(records: string): Call[] {
  return readdirSync(records, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => ({ name, path: join(records, name), time: statSync(join(records, name)).mtimeMs }))
    .sort((a, b) => a.time - b.time || Number(a.name) - Number(b.name))
    .flatMap(({ path }) => callsIn(readFileSync(path, 'utf8')))
}

export function callsIn(text: string): Call[] {
  // Behind the last NUL is what a process that was killed did not get to end.
  const fields = text.split('\0').slice(0, -1)
  const calls: Call[] = []
  for (let at = 0; at + 1 < fields.length; ) {
    const [folder, count] = [fields[at] as string, Number(fields[at + 1])]
    const args = fields.slice(at + 2, at + 2 + count)
    if (!Number.isInteger(count) || args.length < count) break
    calls.push({ folder, args: args.flatMap((arg) => (arg.startsWith('@') && arg.length > 1 ? splitResponse(arg.slice(1)) : [arg])) })
    at += 2 + count
  }
  return calls
}

/** The arguments in a response file, as GNU tools and LLVM's read it: quotes of both kinds, backslashes before any character. */
export function splitResponse(text: string): string[] {
  const args: string[] = []
  let current: string | undefined
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string
    if (c === '\\' && i + 1 < text.length && quote !== "'") current = (current ?? '') + text[++i]
    else if (quote !== '') {
      if (c === quote) quote = ''
      else current = (current ?? '') + c
    } else if (c === '"' || c === "'") {
      quote = c
      current ??= ''
    } else if (/\s/.test(c)) {
      if (current !== undefined) args.push(current)
      current = undefined
    } else current = (current ?? '') + c
  }
  return current === undefined ? args : [...args, current]
}

export interface Link {
  readonly kind: 'link'
  readonly output: string
  /** Objects of several become one (`-r`): no image yet. */
  readonly partial: boolean
  /** Files named, in order. */
  readonly files: readonly string[]
  /** `-lNAME` without `-l`. */
  readonly libraries: readonly string[]
  /** Where those are looked for. */
  readonly folders: readonly string[]
}

export type Meaning = { readonly kind: 'compile'; readonly outputs: readonly string[] } | Link

const VALUE_OPTIONS: ReadonlySet<string> = new Set(
  '-o -x -include -imacros -isystem -iquote -idirafter -I -L -l -D -U -MF -MT -MQ -Xlinker -Xassembler -Xpreprocessor -T -u -z -arch -target'.split(
    ' ',
  ),
)
const NO_OUTPUT = /^(-E|-S|-M|-MM|-fsyntax-only|-###|--version|-dump.*|--?print.*|-v|--help)$/

/** undefined: the call made neither an object nor an image. Paths are absolute. */
export function meaningOf({ folder, args }: Call): Meaning | undefined {
  const files: string[] = []
  const values = new Map<string, string[]>()
  const options: string[] = []
  const take = (option: string, value: string) => values.set(option, [...(values.get(option) ?? []), value])
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string
    if (VALUE_OPTIONS.has(arg)) take(arg, args[++i] ?? '')
    else if (/^-[olL]./.test(arg)) take(arg.slice(0, 2), arg.slice(2))
    else if (arg.startsWith('-')) options.push(arg)
    else if (arg !== '') files.push(arg)
  }
  const full = (path: string) => normalize(isAbsolute(path) ? path : join(folder, path))
  const output = values.get('-o')?.at(-1)
  if (options.includes('-c'))
    return {
      kind: 'compile',
      outputs: output !== undefined ? [full(output)] : files.map((file) => full(`${file.replace(/^.*\//, '').replace(/\.[^.]*$/, '')}.o`)),
    }
  const libraries = values.get('-l') ?? []
  if (options.some((option) => NO_OUTPUT.test(option)) && files.length === 0) return undefined
  if (options.some((option) => /^(-E|-S|-M|-MM|-fsyntax-only)$/.test(option)) || files.length + libraries.length === 0) return undefined
  return {
    kind: 'link',
    output: full(output ?? 'a.out'),
    partial: options.some((option) => option === '-r' || option.split(',').includes('-r')),
    files: files.map(full),
    libraries,
    folders: (values.get('-L') ?? []).map(full),
  }
}
