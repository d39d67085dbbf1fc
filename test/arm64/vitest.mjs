/**
 * What stands for `vitest` in the ARM64 machine: its own runner and its own `expect`, without vite, which would take longer to start there than the
 * tests to run. Test files are the same.
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  customMatchers,
  getState,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from '@vitest/expect'

chai.use(JestExtend)
chai.use(JestChaiExpect)
chai.use(JestAsymmetricMatchers)

const called = (value, message) => {
  setState({ assertionCalls: (getState(called)?.assertionCalls ?? 0) + 1 }, called)
  return chai.expect(value, message)
}
Object.assign(called, chai.expect, globalThis[ASYMMETRIC_MATCHERS_OBJECT])
setState({ assertionCalls: 0, isExpectingAssertions: false, expectedAssertionsNumber: null }, called)
called.extend = (matchers) => chai.expect.extend(called, matchers)
called.extend(customMatchers)

export const expect = called
export { afterAll, afterEach, beforeAll, beforeEach, describe, it, startTests, test } from '@vitest/runner'
