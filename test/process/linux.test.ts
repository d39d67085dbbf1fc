/** The conformance suite on Linux, against a real program: position independent, at a fixed address, and linked by lld. */
import { afterAll, describe, test } from 'vitest'
import { FAULT_CASES } from '../../src/process/testing/call-cases.ts'
import { CONFORMANCE_CASES, runCase } from '../../src/process/testing/conformance.ts'
import { linuxHost } from '../../src/process/testing/linux-host.ts'
import { compile, endTargets } from './targets.ts'

afterAll(endTargets)

const hostFor = (name: string, options: readonly string[] = [], compiler = 'gcc') =>
  linuxHost(compile('conformance.c', name, options, compiler))

describe.each([
  ['a position-independent program', hostFor('conformance-pie')],
  ['a program at a fixed address', hostFor('conformance-fixed', ['-no-pie'])],
  ['a static program linked by lld', hostFor('conformance-lld', ['-static', '-fuse-ld=lld'], 'clang-19')],
])('Linux conforms: %s', (_, host) => {
  test.each([...CONFORMANCE_CASES, ...FAULT_CASES])('$name', (conformanceCase) => runCase(conformanceCase, host))
})
