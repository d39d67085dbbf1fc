import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import {
  CONTEXT_AMD64,
  CONTEXT_ARM64,
  MEM,
  MEMORY_BASIC_INFORMATION,
  MODULEENTRY32W,
  PAGE,
  PROCESS_RIGHTS,
  PROCESSENTRY32W,
  SYSTEM_INFO,
  TH32CS,
  THREAD_RIGHTS,
  TOKEN,
  TOKEN_PRIVILEGES,
} from './definitions.ts'
import { ERROR } from './status.ts'

const golden: Record<string, Record<string, number>> = JSON.parse(readFileSync(new URL('fixtures/layout.json', import.meta.url), 'utf8'))
const arm64: Record<string, number> = JSON.parse(readFileSync(new URL('fixtures/layout-arm64.json', import.meta.url), 'utf8'))

const tables = [MEMORY_BASIC_INFORMATION, SYSTEM_INFO, PROCESSENTRY32W, MODULEENTRY32W, TOKEN_PRIVILEGES]

test.each(tables)("$name has the size and offsets of mingw's headers", (table) => {
  const { size, ...offsets } = golden[table.name] ?? {}
  expect(table.size).toBe(size)
  expect(table.offsets).toMatchObject(offsets)
})

test("the x64 CONTEXT has the size and offsets of mingw's headers", () => {
  expect(CONTEXT_AMD64).toMatchObject(golden.CONTEXT ?? {})
})

test("the ARM64 CONTEXT has the size and offsets of mingw's headers", () => {
  const { size, ContextFlags, X = 0, Fp, Lr, Sp, Pc, CONTEXT_CONTROL, CONTEXT_INTEGER } = arm64
  expect(CONTEXT_ARM64).toMatchObject({ size, ContextFlags, Rsp: Sp, Rip: Pc, CONTEXT_CONTROL, CONTEXT_INTEGER })
  // X0 to X28 in a row, then Fp, Lr, Sp and Pc.
  expect(CONTEXT_ARM64.DWARF).toEqual([...Array.from({ length: 29 }, (_, number) => X + 8 * number), Fp, Lr, Sp, Pc])
})

test("constants have the values of mingw's headers", () => {
  const prefixed = (prefix: string, table: Record<string, number>): Record<string, number> =>
    Object.fromEntries(Object.entries(table).map(([name, value]) => [prefix + name, value]))
  const ours: Record<string, number> = {
    ...PROCESS_RIGHTS,
    ...THREAD_RIGHTS,
    ...TOKEN,
    ...prefixed('MEM_', MEM),
    ...prefixed('PAGE_', PAGE),
    ...prefixed('TH32CS_', TH32CS),
    CONTEXT_CONTROL: CONTEXT_AMD64.CONTEXT_CONTROL,
    CONTEXT_INTEGER: CONTEXT_AMD64.CONTEXT_INTEGER,
    ...ERROR,
  }
  // mingw's headers do not have it yet.
  delete ours.ERROR_DYNAMIC_CODE_BLOCKED
  expect(ours).toEqual(golden.constants)
})
