/**
 * Runs the conformance suite, and the cases that only Windows has, inside Windows' Node:
 *   node run-on-windows.js TARGET.EXE RESULTS [PART OF A CASE'S NAME]
 * Appends one line of JSON to RESULTS for each case as it ends: { name, error?, milliseconds }.
 */
import { appendFileSync } from 'node:fs'
import { CONFORMANCE_CASES, runCase } from './conformance.ts'
import { WATCHDOG_CASES } from './watchdog-cases.ts'
import { WINDOWS_CASES } from './windows-cases.ts'
import { windowsHost } from './windows-host.ts'

const [exe, results, only = ''] = process.argv.slice(2)
if (exe === undefined || results === undefined) throw new Error('usage: run-on-windows TARGET.EXE RESULTS [NAME]')

for (const conformanceCase of [...CONFORMANCE_CASES, ...WINDOWS_CASES, ...WATCHDOG_CASES]) {
  if (!conformanceCase.name.includes(only)) continue
  const began = performance.now()
  let error: string | undefined
  try {
    await runCase(conformanceCase, windowsHost(exe))
  } catch (thrown) {
    error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  }
  appendFileSync(results, `${JSON.stringify({ name: conformanceCase.name, error, milliseconds: Math.round(performance.now() - began) })}\n`)
}
