/** Packages of npm for another system than this one, into a folder of their own. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mustRun } from '../run.ts'

export interface NpmRequest {
  readonly folder: string
  readonly os: 'linux' | 'win32'
  readonly dependencies: Readonly<Record<string, string>>
}

/** Gives the folder node_modules. Throws what npm says. */
export async function installFor({ folder, os, dependencies }: NpmRequest): Promise<string> {
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }))
  // --force: npm refuses a foreign platform for what is asked for by name.
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  await mustRun('npm', ['install', '--force', '--no-package-lock', `--os=${os}`, '--cpu=arm64', ...quiet], { cwd: folder })
  return join(folder, 'node_modules')
}
