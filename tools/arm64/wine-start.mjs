/**
 * Starts a program for Windows and ends with it; Windows' own Node runs this in the ARM64 machine, for Linux does not see by which pid Windows knows a program:
 *
 *   node wine-start.mjs PID-FILE OUTPUT PROGRAM ARGUMENTS…
 */
import { spawn } from 'node:child_process'
import { openSync, writeFileSync } from 'node:fs'

const [pidFile, output, program, ...args] = process.argv.slice(2)
const written = openSync(output, 'a')
const child = spawn(program, args, { stdio: ['ignore', written, written] })
child.on('error', (error) => {
  writeFileSync(output, `${error}\n`)
  process.exit(1)
})
child.on('spawn', () => writeFileSync(pidFile, `${child.pid}\n`))
child.on('exit', (code) => process.exit(code ?? 1))
