/** Compiling the programs of test/targets. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { made } from '../brought.ts'

export interface TargetProgram {
  /** A file of test/targets. */
  readonly source: string
  /** Of the program's file. */
  readonly name: string
  readonly options: readonly string[]
  readonly compiler: string
}

export const GCC_FOR_ARM64 = 'aarch64-linux-gnu-gcc'
/** For the processor that the tests run on. */
export const GCC = process.arch === 'arm64' ? GCC_FOR_ARM64 : 'gcc'

/** The folder that the program lies in, which the caller deletes. */
export function compileTarget(how: TargetProgram): string {
  const { source, name, options, compiler } = how
  return made('target', how, (folder) => {
    const path = fileURLToPath(new URL(`../targets/${source}`, import.meta.url))
    execFileSync(compiler, ['-O2', '-g', '-pthread', path, '-o', join(folder, name), ...options], { stdio: 'inherit' })
  })
}
