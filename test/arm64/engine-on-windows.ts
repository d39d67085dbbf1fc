/**
 * The engine inside Windows' Node on ARM64:
 *
 *   node engine-on-windows.js PROGRAM.EXE FIX-1.DLL FIX-2.DLL THREADS-1.DLL THREADS-2.DLL RESULTS [PART OF A CASE'S NAME]
 *
 * Appends a line of JSON to RESULTS for each case as it ends, as the conformance suite does.
 */
import { readFileSync } from 'node:fs'
import { readPatchImage } from '../../src/patch/read.ts'
import { startBusyProgram } from './busy-program.ts'
import { ENGINE_CASES } from './engine-cases.ts'
import { tellCases } from './tell-cases.ts'

const [exe, ...others] = process.argv.slice(2)
const [first, second, third, fourth, results, only = ''] = others
if (
  exe === undefined ||
  first === undefined ||
  second === undefined ||
  third === undefined ||
  fourth === undefined ||
  results === undefined
)
  throw new Error('usage: engine-on-windows PROGRAM.EXE FIX-1.DLL FIX-2.DLL THREADS-1.DLL THREADS-2.DLL RESULTS [NAME]')
const pair = (a: string, b: string) => [readPatchImage(readFileSync(a)), readPatchImage(readFileSync(b))] as const
const fixes = { plain: pair(first, second), threads: pair(third, fourth) }

void tellCases(ENGINE_CASES, only, results, async ({ run }) => {
  const program = await startBusyProgram(exe)
  await run(program, fixes).finally(() => program.stop())
}).then(() => process.exit(0))
