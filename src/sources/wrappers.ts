/** A folder that comes first in PATH: a stand-in for every compiler that a build may call by name. */
import { accessSync, constants, mkdirSync, readdirSync, realpathSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { wrapperScript } from './wrapper.ts'

/** gcc, g++, cc, c++, clang, clang++; for other systems (`x86_64-w64-mingw32-gcc`), and of a version (`clang-19`). */
const COMPILER = /^([a-z0-9_]+-)*(gcc|g\+\+|cc|c\+\+|clang|clang\+\+)(-\d+(\.\d+)*)?(-posix|-win32)?$/

/** They look for the real compiler in PATH themselves, and would find the stand-in. */
const CACHES: ReadonlySet<string> = new Set(['ccache', 'sccache', 'distcc', 'icecc'])

/** Compilers by name, as PATH leads to them. */
export function compilersIn(path: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const folder of path.split(':').filter((entry) => entry.startsWith('/')))
    for (const name of namesIn(folder)) {
      const file = join(folder, name)
      if (COMPILER.test(name) && !found.has(name) && isCompiler(file)) found.set(name, file)
    }
  return found
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function isCompiler(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return !CACHES.has(basename(realpathSync(file)))
  } catch {
    return false
  }
}

/**
 * Makes the folder. What stands in the environment as an absolute path (CC=/usr/bin/gcc) is led to the stand-in as well.
 * @param records folder in which calls are noted
 * @returns what to add to the environment of a build
 */
export function makeWrappers(folder: string, records: string, environment: NodeJS.ProcessEnv): Record<string, string> {
  const path = environment.PATH ?? '/usr/local/bin:/usr/bin:/bin'
  const compilers = compilersIn(path)
  mkdirSync(folder, { recursive: true })
  mkdirSync(records, { recursive: true })
  for (const [name, file] of compilers) writeFileSync(join(folder, name), wrapperScript(file, records), { mode: 0o755 })
  const added: Record<string, string> = { PATH: `${folder}:${path}` }
  for (const variable of ['CC', 'CXX', 'CPP', 'LD']) {
    const [program = '', ...rest] = (environment[variable] ?? '').split(' ')
    if (program.startsWith('/') && compilers.has(basename(program))) added[variable] = [join(folder, basename(program)), ...rest].join(' ')
  }
  return added
}
