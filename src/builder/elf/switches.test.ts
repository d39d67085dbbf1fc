import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { placedIn } from '../../machine/arm64/instructions.ts'
import { jumpTables } from '../../machine/arm64/jump-tables.ts'
import { surroundingsOf } from '../redirects.ts'
import { readElfBase } from './base.ts'

const fixture = (name: string): Buffer => readFileSync(new URL(`fixtures/switches/${name}`, import.meta.url))

describe.each(['gcc-12', 'clang-14', 'clang-19'])('switches as %s compiles them for ARM64', (compiler) => {
  const base = readElfBase(fixture(`${compiler}.so`), `${compiler}.so`)
  /** By the compiler's own labels. */
  const labels: Record<string, number[][]> = JSON.parse(fixture(`${compiler}.json`).toString())

  test.each(['plain', 'byte', 'loop', 'state', 'far'])('%s: the table leads where the compiler says', (name) => {
    const { rva = 0, size = 0 } = base.symbols.find((symbol) => symbol.name === name) ?? {}
    const code = base.bytes(rva, size) as Uint8Array
    const read = jumpTables(placedIn(code), surroundingsOf(base, rva), []).map(({ targets }) => targets)
    expect(read).toEqual(labels[name])
  })
})
