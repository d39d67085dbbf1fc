#!/usr/bin/env node
/**
 * Sets a fresh Debian machine up for one task: the project's own dependencies, the compiled product, Debian packages.
 * Runs before `npm ci`, so it uses what comes with Node alone. Does nothing, and says nothing, where nothing is missing.
 *
 *   node tools/setup.mjs TASK          (the tasks stand in debian-packages.mjs)
 *
 * Exit codes: 0 ready; 2 no such task; 5 something must be installed and this user may not; else the failed command's.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { packagesFor, TASKS } from './debian-packages.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))

main(process.argv[2] ?? '')

function main(task) {
  if (!(task in TASKS)) {
    process.stderr.write(`setup: no such task "${task}"; there are: ${Object.keys(TASKS).join(', ')}\n`)
    process.exit(2)
  }
  installDebianPackages(task)
  installDependencies()
  compile()
}

function installDebianPackages(task) {
  const wanted = packagesFor(task)
  if (wanted.length === 0) return
  const installed = installedPackages(wanted.map(({ name }) => name))
  if (installed === undefined) {
    say(`this is no Debian system: nothing is installed here; ${task} needs ${wanted.map(({ name }) => name).join(' ')}`)
    return
  }
  const missing = wanted.filter(({ name }) => !installed.has(name))
  if (missing.length === 0) return
  const names = missing.map(({ name }) => name)
  const install = ['apt-get', 'install', '--yes', '--no-install-recommends', ...names]
  if (process.getuid() !== 0) {
    say(`${task} needs packages that only root can install: sudo ${install.join(' ')}`)
    process.exit(5)
  }
  const width = Math.max(...names.map((name) => name.length))
  for (const { name, why } of missing) say(`installing ${name.padEnd(width)}  ${why}`)
  run(['apt-get', 'update', '-q', '-q'], 'quiet')
  run([...install, '-q', '-q'], 'quiet')
}

/** Those of `names` that are installed; undefined where there is no dpkg. */
function installedPackages(names) {
  // dpkg-query fails when one name is unknown to it, and still lists the others.
  const query = spawnSync('dpkg-query', ['-W', '-f', `\${Package} \${db:Status-Abbrev}\\n`, ...names], { encoding: 'utf8' })
  if (query.error) return undefined
  const lines = query.stdout.split('\n').map((line) => line.split(' '))
  return new Set(lines.filter(([, status]) => status?.startsWith('ii')).map(([name]) => name))
}

function installDependencies() {
  const lock = join(root, 'package-lock.json')
  const done = join(root, 'node_modules/.package-lock.json')
  if (changedAt(done) >= changedAt(lock)) return
  say('npm ci: the dependencies of package-lock.json')
  run(['npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error'], 'quiet')
  touch(done)
}

function compile() {
  const mark = join(root, 'dist/.tsbuildinfo')
  const sources = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json'].map((name) => join(root, name))
  const newest = Math.max(...[...sources, ...productSources(join(root, 'src'))].map(changedAt))
  if (existsSync(join(root, 'dist/cli/main.js')) && changedAt(mark) >= newest) return
  say('npm run build: src to dist')
  run(['npm', 'run', '--silent', 'build'], 'shown')
  if (existsSync(mark)) touch(mark)
}

function productSources(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((found) => found.isFile() && found.name.endsWith('.ts') && !found.name.endsWith('.test.ts'))
    .map((found) => join(found.parentPath ?? found.path, found.name))
}

/** Milliseconds since the epoch; below every time for what does not exist. */
function changedAt(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? -1
}

function touch(path) {
  const now = new Date()
  utimesSync(path, now, now)
}

function run([command, ...args], output) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const stdio = output === 'quiet' ? ['ignore', 'pipe', 'pipe'] : ['ignore', 2, 2]
  const ended = spawnSync(command, args, { cwd: root, env, stdio, encoding: 'utf8', maxBuffer: 1 << 28 })
  if (ended.status === 0) return
  if (output === 'quiet') process.stderr.write(`${ended.stdout ?? ''}${ended.stderr ?? ''}`)
  say(`failed: ${[command, ...args].join(' ')}${ended.error ? ` (${ended.error.message})` : ''}`)
  process.exit(ended.status || 1)
}

function say(line) {
  process.stderr.write(`setup: ${line}\n`)
}
