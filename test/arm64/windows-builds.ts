/**
 * Compiles into FOLDER what the suites of Windows on ARM64 start, patches included:
 *
 *   tsx test/arm64/windows-builds.ts FOLDER
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PAUSE_MS } from '../brought.ts'
import { buildPair } from '../engine/pair.ts'

const [folder] = process.argv.slice(2)
if (folder === undefined) throw new Error('usage: windows-builds FOLDER')

const COMPILER = fileURLToPath(new URL('../targets/windows-arm64/cc', import.meta.url))
const CONFORMANCE = fileURLToPath(new URL('../targets/conformance.c', import.meta.url))

execFileSync(COMPILER, ['-O2', `-DPAUSE_MS=${PAUSE_MS}`, CONFORMANCE, '-o', join(folder, 'conformance.exe')])

// All patches are of the same program: what they fix is in none of its objects.
for (const [name, ...more] of [['fix'], ['threads', '-DTHREADS']] as const)
  for (const fix of [1, 2]) {
    const pair = buildPair({
      sources: 'busy-pe',
      files: ['main.c', 'slow.c'],
      compiler: COMPILER,
      flags: [`-DFIX=${fix}`, ...more],
      program: 'program.exe',
    })
    copyFileSync(pair.program, join(folder, 'program.exe'))
    writeFileSync(join(folder, `${name}-${fix}.dll`), pair.bytes({ id: `${name}-${fix}`, sequence: fix }))
    rmSync(pair.folder, { recursive: true, force: true })
  }
