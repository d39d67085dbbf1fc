import { describe, test } from 'vitest'
import { CONFORMANCE_CASES, runCase } from './conformance.ts'
import { fakeHost } from './fake-host.ts'

describe('the fake process conforms', () => {
  test.each(CONFORMANCE_CASES)('$name', (conformanceCase) => runCase(conformanceCase, fakeHost()))
})
