/**
 * Writes docs/json.md, for people, and docs/schemas/, for programs, from src/cli/schemas.ts: `npx tsx tools/json-page.ts`. A test holds them
 * together.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { failure, RESULTS, success } from '../src/cli/schemas.ts'

type Schema = {
  readonly type?: string
  readonly properties?: Record<string, Schema>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly enum?: readonly string[]
  readonly const?: string
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly additionalProperties?: Schema | boolean
  readonly description?: string
}

/** Longer lists of words are told by where they stand. */
const WORDS_SHOWN = 8

/** A schema as one would write the type. */
function shape(schema: Schema, indent: string): string {
  const choices = schema.oneOf ?? schema.anyOf
  if (choices !== undefined) return choices.map((choice) => shape(choice, indent)).join(' | ')
  if (schema.const !== undefined) return `"${schema.const}"`
  if (schema.enum !== undefined)
    return schema.enum.length > WORDS_SHOWN ? 'a code of docs/errors.md' : schema.enum.map((word) => `"${word}"`).join(' | ')
  if (schema.type === 'array') return `[${shape(schema.items ?? {}, indent)}]`
  if (schema.type !== 'object') return schema.description ?? schema.type ?? 'anything'
  if (schema.properties === undefined) {
    const values = typeof schema.additionalProperties === 'object' ? shape(schema.additionalProperties, indent) : 'anything'
    return `{ [word]: ${values} }${schema.description === undefined ? '' : ` (${schema.description})`}`
  }
  const required = new Set(schema.required)
  const fields = Object.entries(schema.properties).map(
    ([name, value]) => `${indent}  ${name}${required.has(name) ? '' : '?'}: ${shape(value, `${indent}  `)}`,
  )
  return `{\n${fields.join('\n')}\n${indent}}`
}

const shapeOf = (schema: z.ZodType): string[] => ['', '```', shape(z.toJSONSchema(schema) as Schema, ''), '```']

export function jsonPage(): string {
  return [
    '# JSON',
    '',
    'Every command prints one JSON document with `--json`: `hotpatch` (the version), `command`, `outcome` (a word that scripts can test), `exit`',
    '(the exit code), and `result`; or, where it failed, `error` instead of `result`. Addresses are hexadecimal strings, sizes are bytes, RVAs count from',
    'the start of the image. `name?` may be left out: it is not known, or does not apply. JSON Schemas of the whole documents are in `docs/schemas/`.',
    'Pages and schemas are written by `npx tsx tools/json-page.ts`.',
    ...Object.entries(RESULTS).flatMap(([command, schema]) => ['', `## \`result\` of \`hotpatch ${command}\``, ...shapeOf(schema)]),
    '',
    '## A failure',
    ...shapeOf(failure),
    '',
  ].join('\n')
}

/** File name → content. */
export const jsonSchemas = (): Record<string, string> =>
  Object.fromEntries(
    [
      ...Object.keys(RESULTS).map((command) => [command.replaceAll(/[ -]+/g, '-'), success(command as keyof typeof RESULTS)] as const),
      ['failure', failure] as const,
    ].map(([name, schema]) => [`${name}.schema.json`, `${JSON.stringify(z.toJSONSchema(schema), null, 2)}\n`]),
  )

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const docs = new URL('../docs/', import.meta.url)
  mkdirSync(new URL('schemas/', docs), { recursive: true })
  writeFileSync(new URL('json.md', docs), jsonPage())
  for (const [name, content] of Object.entries(jsonSchemas())) writeFileSync(new URL(`schemas/${name}`, docs), content)
}
