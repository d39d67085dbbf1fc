import { expect, test } from 'vitest'
import { persistently } from './persistently.ts'

const failing = (code: string, times: number) => {
  let calls = 0
  const start = (): string => {
    if (++calls <= times) throw Object.assign(new Error(`spawn ${code}`), { code })
    return 'started'
  }
  return { start, calls: () => calls }
}

test('an error without a name is tried again, five times in all', () => {
  const sometimes = failing('UNKNOWN', 4)
  expect(persistently(sometimes.start)).toBe('started')
  const always = failing('UNKNOWN', 5)
  expect(() => persistently(always.start)).toThrow('spawn UNKNOWN')
  expect(always.calls()).toBe(5)
})

test('an error with a name is not', () => {
  const missing = failing('ENOENT', 1)
  expect(() => persistently(missing.start)).toThrow('spawn ENOENT')
  expect(missing.calls()).toBe(1)
})
