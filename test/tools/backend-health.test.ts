/** The page of what each backend passes is what its generator writes, and every live test is accounted for on ARM64. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LANES, readHealth, readPage, renderHealth } from '../../tools/backend-health.ts'
import { clone } from '../../tools/places.ts'
import { LEFT_OUT, SUITES } from '../arm64/suites.ts'

test('docs/backend-health.md is what `npx tsx tools/backend-health.ts` writes', () => {
  expect(readPage()).toBe(renderHealth(readHealth()))
})

test('what was run is there still, passed, and each skip has a reason', () => {
  const health = readHealth()
  expect(Object.keys(health).filter((key) => !LANES.some((lane) => lane.key === key))).toEqual([])
  for (const suites of Object.values(health))
    for (const { name, failed, skipped } of suites) {
      expect([name, failed]).toEqual([name, 0])
      expect(Object.values(skipped).every((why) => why.length > 10)).toBe(true)
      if (name.endsWith('.ts')) expect([name, existsSync(join(clone, name))]).toEqual([name, true])
    }
})

test('every live test of the engine and of processes runs on ARM64, or it is said why not', () => {
  const tests = ['engine', 'process'].flatMap((room) =>
    readdirSync(new URL(`../${room}/`, import.meta.url))
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => `${room}/${name.replace('.test.ts', '')}`),
  )
  const told = [...SUITES, ...LEFT_OUT].map(({ file }) => file)
  // The conformance suite has a program of its own there: tools/arm64/main.ts.
  expect(told.toSorted()).toEqual(tests.filter((file) => file !== 'process/linux').toSorted())
  expect(LEFT_OUT.every(({ why }) => why.length > 10)).toBe(true)
})
