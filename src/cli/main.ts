/** The command line: `hotpatch COMMAND …`. Arguments in, the rooms below, words or JSON out. */
import { run, type StricliProcess } from '@stricli/core'
import { Exit } from '../errors.ts'
import { app } from './app.ts'

/** stricli's own negative exit codes: the command line was not understood (-5, -4), or it failed itself (-1 to -3). */
const USAGE_CODES = new Set([-5, -4])

await run(app, process.argv.slice(2), { process: process as StricliProcess })

const code = Number(process.exitCode ?? 0)
if (code < 0) process.exitCode = USAGE_CODES.has(code) ? Exit.usage : Exit.defect
