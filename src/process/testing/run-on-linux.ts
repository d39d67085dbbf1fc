/**
 * Runs the conformance suite on Linux without a test runner, once for each program:
 *   node run-on-linux.js PART_OF_A_CASE'S_NAME PROGRAM WHAT [PROGRAM WHAT]...
 * Prints `@suite ` and WHAT, one line for each case as it ends, `@result ` and JSON, { name, error?, milliseconds }, and `@done`.
 */
import { FAULT_CASES } from './call-cases.ts'
import { CONFORMANCE_CASES } from './conformance.ts'
import { linuxHost } from './linux-host.ts'
import { runCases } from './run-cases.ts'

const [only = '', ...programs] = process.argv.slice(2)
if (programs.length === 0 || programs.length % 2 !== 0) throw new Error('usage: run-on-linux NAME PROGRAM WHAT [PROGRAM WHAT]...')

for (let i = 0; i < programs.length; i += 2) {
  const [program, what] = programs.slice(i) as [string, string]
  console.log(`@suite ${what}`)
  await runCases([...CONFORMANCE_CASES, ...FAULT_CASES], linuxHost(program), only, (result) =>
    console.log(`@result ${JSON.stringify(result)}`),
  )
  console.log('@done')
}
