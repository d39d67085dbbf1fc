/**
 * Runs the conformance suite, and the cases that only Windows has, inside Windows' Node:
 *   node run-on-windows.js TARGET.EXE RESULTS [PART OF A CASE'S NAME]
 * Appends one line of JSON to RESULTS for each case as it ends, { name, error?, milliseconds }.
 */
import { appendFileSync } from 'node:fs'
import { CONFORMANCE_CASES } from './conformance.ts'
import { runCases } from './run-cases.ts'
import { DYING_CASES, WATCHDOG_CASES } from './watchdog-cases.ts'
import { WINDOWS_CASES } from './windows-cases.ts'
import { windowsHost } from './windows-host.ts'

const [exe, results, only = ''] = process.argv.slice(2)
if (exe === undefined || results === undefined) throw new Error('usage: run-on-windows TARGET.EXE RESULTS [NAME]')

const tell = (result: object): void => appendFileSync(results, `${JSON.stringify(result)}\n`)

void runCases([...CONFORMANCE_CASES, ...WINDOWS_CASES, ...WATCHDOG_CASES, ...DYING_CASES], windowsHost(exe), only, tell)
