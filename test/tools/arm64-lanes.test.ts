import { expect, test } from 'vitest'
import { LANES } from '../../tools/arm64/lanes.ts'
import { WINDOWS_SUITES } from '../../tools/arm64/windows.ts'
import { AT_ONCE, SUITES } from '../arm64/suites.ts'

test('every suite for ARM64 has one machine that runs it, and those for both processors at once another', () => {
  const run = LANES.flatMap(({ report, suites }) => suites.map((suite) => `${report} ${suite}`))
  expect(run.toSorted()).toEqual(
    [
      'arm64-linux conformance',
      ...SUITES.map(({ file }) => `arm64-linux ${file}`),
      ...AT_ONCE.map((file) => `arm64-linux-at-once ${file}`),
      ...WINDOWS_SUITES.map(({ name }) => `arm64-windows ${name}`),
    ].toSorted(),
  )
})
