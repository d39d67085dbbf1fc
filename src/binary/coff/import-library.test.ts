import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { readImportLibrary } from './import-library.ts'

const fixture = (name: string) => readFileSync(new URL(`fixtures/import-libraries/${name}`, import.meta.url))

describe.each(['dlltool.a', 'llvm-dlltool.lib'])('%s', (name) => {
  const imports = readImportLibrary(fixture(name))

  test('has a function by name, a variable and a function by ordinal, each with its DLL', () => {
    expect(imports.get('service_open')).toEqual({
      symbol: 'service_open',
      library: 'service.dll',
      name: 'service_open',
      ordinal: undefined,
      kind: 'function',
    })
    expect(imports.get('service_count')).toMatchObject({ library: 'service.dll', name: 'service_count', kind: 'data' })
    expect(imports.get('service_close')).toMatchObject({ library: 'service.dll', name: undefined, ordinal: 7, kind: 'function' })
  })

  test('and nothing else', () => {
    expect([...imports.keys()].sort()).toEqual(['service_close', 'service_count', 'service_open'])
  })
})
