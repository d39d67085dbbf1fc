/**
 * Runs the conformance suite on Linux without a test runner:
 *   node run-on-linux.js PROGRAM [PART OF A CASE'S NAME]
 * Prints one line for each case as it ends: `@result ` and JSON, { name, error?, milliseconds }.
 */
import { FAULT_CASES } from './call-cases.ts'
import { CONFORMANCE_CASES } from './conformance.ts'
import { linuxHost } from './linux-host.ts'
import { runCases } from './run-cases.ts'

const [program, only = ''] = process.argv.slice(2)
if (program === undefined) throw new Error('usage: run-on-linux PROGRAM [NAME]')

await runCases([...CONFORMANCE_CASES, ...FAULT_CASES], linuxHost(program), only, (result) =>
  console.log(`@result ${JSON.stringify(result)}`),
)
