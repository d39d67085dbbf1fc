/**
 * Runs the conformance suite, and the cases that only Windows has, inside Windows' Node:
 *   node run-on-windows.js TARGET.EXE RESULTS [PART OF A CASE'S NAME]
 * Appends one line of JSON to RESULTS for each case as it ends, { name, error?, milliseconds }, and for each that is left out, { name, status, why }.
 */
import { appendFileSync } from 'node:fs'
import { CONFORMANCE_CASES } from './conformance.ts'
import { runCases } from './run-cases.ts'
import { DYING_CASES, WATCHDOG_CASES } from './watchdog-cases.ts'
import { WINDOWS_CASES } from './windows-cases.ts'
import { windowsHost } from './windows-host.ts'

const [exe, results, only = ''] = process.argv.slice(2)
if (exe === undefined || results === undefined) throw new Error('usage: run-on-windows TARGET.EXE RESULTS [NAME]')

/** Windows on ARM64 is run where the processor is emulated: Node takes a quarter of a minute to start there. */
const LEFT_OUT = process.arch === 'arm64' ? DYING_CASES : []
const DYING = process.arch === 'arm64' ? [] : DYING_CASES

const tell = (result: object): void => appendFileSync(results, `${JSON.stringify(result)}\n`)

for (const { name } of LEFT_OUT)
  if (name.includes(only))
    tell({
      name,
      status: 'skipped',
      why: 'it starts an engine for each step, which takes minutes where the processor is emulated',
      milliseconds: 0,
    })
await runCases([...CONFORMANCE_CASES, ...WINDOWS_CASES, ...WATCHDOG_CASES, ...DYING], windowsHost(exe), only, tell)
