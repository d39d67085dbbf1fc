/**
 * Runs the unit tests on other versions of Node, each fetched once as a package that holds the program whole.
 *
 *   tsx tools/unit-on-node.ts [VERSION...]
 */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cache } from './places.ts'
import { mustRun } from './run.ts'
import { runVitest } from './vitest.ts'

/** The newest of the majors above the one that the project is developed on. */
const VERSIONS = ['22.23.3', '24.21.0']

process.exitCode = await main(process.argv.slice(2))

async function main(wanted: readonly string[]): Promise<number> {
  let good = true
  for (const version of wanted.length > 0 ? wanted : VERSIONS) {
    process.stdout.write(`\nunit tests on Node ${version}\n`)
    const outcome = await runVitest(await nodeOf(version), 'unit', `unit-on-node-${version}`)
    good &&= outcome.good
  }
  return good ? 0 : 1
}

/** The path of that version's program. */
async function nodeOf(version: string): Promise<string> {
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
  const home = join(cache, 'node', version)
  const program = join(home, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (existsSync(program)) return program
  const part = `${home}.${process.pid}.part`
  rmSync(part, { recursive: true, force: true })
  mkdirSync(part, { recursive: true })
  writeFileSync(join(part, 'package.json'), '{ "private": true }')
  await mustRun('npm', ['install', '--no-save', '--no-package-lock', '--no-audit', '--no-fund', `${name}@${version}`], { cwd: part })
  rmSync(home, { recursive: true, force: true })
  renameSync(part, home)
  return program
}
