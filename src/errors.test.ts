import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { REASONS, type ReasonCode } from './builder/reasons.ts'
import { ERRORS, type ErrorCode, Exit, HotpatchError } from './errors.ts'

const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8')
const documented = [...page.matchAll(/^### `([A-Z][A-Z0-9_]*)`/gm)].map((match) => match[1] as string)
const sectionOf = (code: string): string => page.split(/^### /m).find((part) => part.startsWith(`\`${code}\``)) ?? ''
const errors = Object.keys(ERRORS) as ErrorCode[]
const reasons = Object.keys(REASONS) as ReasonCode[]

/** Every source file of the product but the tables themselves, as text. */
const sources = (readdirSync(new URL('.', import.meta.url), { recursive: true }) as string[])
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && name !== 'errors.ts' && name !== 'builder/reasons.ts')
  .map((name) => readFileSync(new URL(name, import.meta.url), 'utf8'))
const used = (code: string): boolean => sources.some((text) => text.includes(`'${code}'`) || text.includes(`${code}:`))

describe('the error reference', () => {
  test('lists every code of the tables', () => {
    expect([...errors, ...reasons].filter((code) => !documented.includes(code))).toEqual([])
  })

  test('lists no code that the tables do not have, and none twice', () => {
    expect(documented.filter((code) => !(code in ERRORS) && !(code in REASONS))).toEqual([])
    expect(documented).toEqual([...new Set(documented)])
  })

  test.each(errors)('%s: the page gives its exit code, what happened and what to do', (code) => {
    expect(sectionOf(code)).toContain(`exit ${Exit[ERRORS[code].exit]}`)
    expect(sectionOf(code)).toContain(ERRORS[code].what)
    expect(sectionOf(code)).toContain(ERRORS[code].todo)
  })

  test.each(reasons)('%s: the page gives its weight, what it is and what to do', (code) => {
    expect(sectionOf(code)).toContain(REASONS[code].weight === 'refuse' ? '(refuses)' : '(a remark)')
    expect(sectionOf(code)).toContain(REASONS[code].what)
    expect(sectionOf(code)).toContain(REASONS[code].todo)
  })

  test.each([...errors, ...reasons])('%s is used somewhere in the product', (code) => {
    expect(used(code)).toBe(true)
  })
})

test('an error carries code, exit code and advice', () => {
  const error = new HotpatchError('BASE_NOT_MAPPED', 'process 7 maps no server')
  expect([error.exit, error.todo, error.message]).toEqual([3, ERRORS.BASE_NOT_MAPPED.todo, 'BASE_NOT_MAPPED: process 7 maps no server'])
})
