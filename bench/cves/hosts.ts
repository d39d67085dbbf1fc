/** Live processes on this system that map a base image of the corpus, and do nothing with it. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Server, Target } from '../../demo/target.ts'
import { readElf } from '../../src/binary/elf/reader.ts'
import { codeAround } from '../../test/e2e/memory.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { REACH, type Site } from './site.ts'

const SOURCES = join(clone, 'bench/cves/hosts')
const READY_MS = 60_000

/** Programs that are started as what they are, since Windows has no LD_PRELOAD: their arguments. All of them wait for clients. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = { 'mosquitto.exe': ['-p', '18830'], 'http-server.exe': ['.'] }

/** Processes of `system`. */
export const siteHere = (system: Target): Site => ({
  start: (images, file) => startHost(system, images, file),
  hotpatch: system.hotpatch,
  bring: async (path) => system.path(path),
  code: async ({ linuxPid }, address) => codeAround(linuxPid, address, REACH),
})

async function startHost(system: Target, images: string, file: string): Promise<Server> {
  const own = ARGUMENTS[file]
  if (own !== undefined) return ready(await system.start(join(images, file), own), file, false)
  if (system.name === 'pe') {
    await bringRuntime(system, images)
    if (!isLibrary(file)) throw new Error(`nobody has said with which arguments ${file} waits`)
    return ready(await system.start(await libraryHost(system), [system.path(join(images, file))]), file, true)
  }
  const folders = `LD_LIBRARY_PATH=${sonames(images)}`
  if (isLibrary(file))
    return ready(await system.start('/usr/bin/env', [folders, await libraryHost(system), join(images, file)]), file, true)
  return ready(await system.start('/usr/bin/env', [folders, `LD_PRELOAD=${await waitingLibrary(system)}`, join(images, file)]), file, true)
}

export const isLibrary = (file: string): boolean => /\.(so|dll)\b/.test(file)

/** Throws where it does not come up. `announces`: it says so, else it is given a second. */
export async function ready(server: Server, file: string, announces: boolean): Promise<Server> {
  const [end, started] = [Date.now() + READY_MS, Date.now()]
  const isUp = () => (announces ? server.output().includes('ready') : Date.now() - started > 1000)
  while (server.running() && !isUp() && Date.now() < end) await sleep(10)
  if (server.running() && isUp()) return server
  const output = server.output()
  await server.stop()
  throw new Error(`the process for ${file} did not come up: ${output.trim()}`)
}

/** Compiled for `system`. */
export const libraryHost = (system: Target): Promise<string> =>
  compiled(`library-${system.corpus}${system.programSuffix}`, [system.compiler, '-O2', join(SOURCES, 'library.c')])

export const waitingLibrary = (system: Target): Promise<string> =>
  compiled(`waiting-${system.corpus}.so`, [system.compiler, '-O2', '-shared', '-fPIC', join(SOURCES, 'waiting.c')])

/** mingw's threads, which its programs bring along as they do their own libraries. */
const RUNTIME = 'libwinpthread-1.dll'

async function bringRuntime(system: Target, images: string): Promise<void> {
  const { stdout } = await mustRun(system.compiler, [`-print-file-name=${RUNTIME}`])
  copyFileSync(stdout.trim(), join(images, RUNTIME))
}

async function compiled(name: string, [compiler = '', ...args]: readonly string[]): Promise<string> {
  const folder = join(workshop, 'cves')
  mkdirSync(folder, { recursive: true })
  const path = join(folder, name)
  if (!existsSync(path)) await mustRun(compiler, [...args, '-o', path])
  return path
}

/** A folder in which the loader finds the libraries of `images` by the names that programs ask for. */
function sonames(images: string): string {
  const folder = join(images, 'sonames')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  for (const [soname, path] of librariesOf(images)) symlinkSync(path, join(folder, soname))
  return folder
}

/** Paths by the names that programs ask for. */
export const librariesOf = (images: string): Map<string, string> =>
  new Map(
    readdirSync(images)
      .filter((file) => /\.so\b/.test(file))
      .map((name) => [readElf(readFileSync(join(images, name))).dynamic()?.soname ?? name, join(images, name)]),
  )
