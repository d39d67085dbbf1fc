import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ERRORS, type ErrorCode, Exit, HotpatchError } from './errors.ts'

const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8')
const documented = [...page.matchAll(/^### `([A-Z][A-Z0-9_]*)`/gm)].map((match) => match[1] as string)
const codes = Object.keys(ERRORS) as ErrorCode[]

/** Every source file of the product, as text. */
const sources = (readdirSync(new URL('.', import.meta.url), { recursive: true }) as string[])
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && name !== 'errors.ts')
  .map((name) => readFileSync(new URL(name, import.meta.url), 'utf8'))

describe('the error reference', () => {
  test('lists every code of the table', () => {
    expect(codes.filter((code) => !documented.includes(code))).toEqual([])
  })

  test('lists no code that the table does not have', () => {
    expect(documented.filter((code) => !codes.includes(code as ErrorCode))).toEqual([])
  })

  test.each(codes)('%s: the page gives its exit code, what happened and what to do', (code) => {
    const section = page.split(/^### /m).find((part) => part.startsWith(`\`${code}\``)) ?? ''
    expect(section).toContain(`exit ${Exit[ERRORS[code].exit]}`)
    expect(section).toContain(ERRORS[code].what)
    expect(section).toContain(ERRORS[code].todo)
  })

  test.each(codes)('%s is used somewhere in the product', (code) => {
    expect(sources.some((text) => text.includes(`'${code}'`) || text.includes(`${code}:`))).toBe(true)
  })
})

test('an error carries code, exit code and advice', () => {
  const error = new HotpatchError('BASE_NOT_MAPPED', 'process 7 maps no server')
  expect([error.exit, error.todo, error.message]).toEqual([3, ERRORS.BASE_NOT_MAPPED.todo, 'BASE_NOT_MAPPED: process 7 maps no server'])
})
