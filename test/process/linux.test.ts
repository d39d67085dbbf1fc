/** The conformance suite on Linux, against a real program: position independent, at a fixed address, and linked by lld. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, test } from 'vitest'
import { linuxBackend } from '../../src/process/linux/index.ts'
import { FAULT_CASES } from '../../src/process/testing/call-cases.ts'
import { CONFORMANCE_CASES, runCase } from '../../src/process/testing/conformance.ts'
import { startOtherEngine } from '../../src/process/testing/other-engine.ts'
import type { ConformanceHost, StartedTarget, TargetSymbols } from '../../src/process/testing/target.ts'
import { compile, startApart, tracerPid, until } from './targets.ts'

function hostFor(name: string, options: readonly string[] = [], compiler = 'gcc'): ConformanceHost {
  return {
    backend: linuxBackend,
    showsNames: true,
    startEngine: startOtherEngine,
    isAttached: (pid) => tracerPid(pid) !== 0,
    async start(): Promise<StartedTarget> {
      const started = await startApart(compile('conformance.c', name, options, compiler))
      await until('the target printed its addresses', () => started.output().endsWith('\n'))
      const { symbols } = JSON.parse(started.output()) as { symbols: Record<string, string> }
      return {
        pid: started.pid,
        moduleName: name,
        symbols: Object.fromEntries(Object.entries(symbols).map(([key, value]) => [key, BigInt(value)])) as TargetSymbols,
        settle: () => sleep(2),
        kill: () => started.kill(),
      }
    },
  }
}

describe.each([
  ['a position-independent program', hostFor('conformance-pie')],
  ['a program at a fixed address', hostFor('conformance-fixed', ['-no-pie'])],
  ['a static program linked by lld', hostFor('conformance-lld', ['-static', '-fuse-ld=lld'], 'clang-19')],
])('Linux conforms: %s', (_, host) => {
  test.each([...CONFORMANCE_CASES, ...FAULT_CASES])('$name', (conformanceCase) => runCase(conformanceCase, host))
})
