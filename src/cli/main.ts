/** The command line: `hotpatch COMMAND …`. Arguments in, the rooms below, words or JSON out. */
import type { StricliProcess } from '@stricli/core'
import { runHotpatch } from './app.ts'

await runHotpatch(process.argv.slice(2), process as StricliProcess)
