import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { jsonPage, jsonSchemas } from '../../tools/json-page.ts'
import { requireDocumented } from './schemas.ts'

const docs = new URL('../../docs/', import.meta.url)

describe('the documentation of --json', () => {
  test('docs/json.md is what the schemas say (npx tsx tools/json-page.ts)', () => {
    expect(readFileSync(new URL('json.md', docs), 'utf8')).toBe(jsonPage())
  })

  test('docs/schemas holds each schema and nothing else', () => {
    const written = Object.fromEntries(
      readdirSync(new URL('schemas/', docs)).map((name) => [name, readFileSync(new URL(`schemas/${name}`, docs), 'utf8')]),
    )
    expect(written).toEqual(jsonSchemas())
  })

  test('a document that is not documented is found', () => {
    const list = {
      hotpatch: '0.1.0',
      command: 'keys list',
      outcome: 'no-keys',
      exit: 0,
      result: { folder: '/etc/hotpatch/keys', keys: [] },
    }
    requireDocumented(list)
    expect(() => requireDocumented({ ...list, result: {} })).toThrow()
    expect(() => requireDocumented({ ...list, surprise: 1 })).toThrow()
    expect(() => requireDocumented({ ...list, command: 'frobnicate' })).toThrow()
  })
})
