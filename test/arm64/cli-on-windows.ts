/**
 * The command line beside processes of Windows on ARM64, steered by a program inside Windows' Node:
 *
 *   node cli-on-windows.js BUILT JOINED PROGRAM.EXE FIX-1.DLL FIX-2.DLL RESULTS [PART OF A CASE'S NAME]
 *
 * Appends a line of JSON to RESULTS for each case as it ends, as the conformance suite does.
 */
import { type BusyProgram, startBusyProgram } from './busy-program.ts'
import { CLI_CASES } from './cli-cases.ts'
import { tellCases } from './tell-cases.ts'

const [built, joined, exe, first, second, results, only = ''] = process.argv.slice(2)
if (
  built === undefined ||
  joined === undefined ||
  exe === undefined ||
  first === undefined ||
  second === undefined ||
  results === undefined
)
  throw new Error('usage: cli-on-windows BUILT JOINED PROGRAM.EXE FIX-1.DLL FIX-2.DLL RESULTS [NAME]')

const patches = [first, second] as const

void tellCases(CLI_CASES, only, results, async ({ programs: count, run }) => {
  const programs: BusyProgram[] = []
  try {
    while (programs.length < count) programs.push(await startBusyProgram(exe))
    await run(programs, { built, joined, patches })
  } finally {
    for (const program of programs) await program.stop()
  }
}).then(() => process.exit(0))
