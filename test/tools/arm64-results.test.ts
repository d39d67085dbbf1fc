/** What is read from the ARM64 machine: a program that dies must not look like one that came to its end. */
import { expect, test } from 'vitest'
import { ResultReader } from '../../tools/arm64/results.ts'

const result = (name: string) => `@result ${JSON.stringify({ name, status: 'passed', milliseconds: 1 })}`

test('a suite whose program died has not ended, though the next one has', () => {
  const reader = new ResultReader(() => {})
  for (const line of ['@suite one', result('a'), 'Segmentation fault', '@suite two', result('b'), '@done']) reader.read(line)
  expect(['one', 'two', 'three'].map((name) => reader.suite({ name }).ended)).toEqual([false, true, false])
  expect(reader.suite({ name: 'one', tests: ['a', 'never told'] }).missing).toEqual(['never told'])
})
