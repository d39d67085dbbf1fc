/** Live processes that map a base image of the corpus, and do nothing with it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Server, type Target, targets } from '../../demo/target.ts'
import { readElf } from '../../src/binary/elf/reader.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import type { TargetName } from './targets.ts'

const SOURCES = join(clone, 'bench/cves/hosts')
const READY_MS = 60_000

/** Where a target's processes run; undefined: nowhere here. */
export const systemOf = (target: TargetName): Target | undefined =>
  target === 'elf-x64' ? targets.elf : target === 'pe-x64' ? targets.pe : undefined

/** Programs that are started as what they are, since Windows has no LD_PRELOAD: their arguments. All of them wait for clients. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = { 'mosquitto.exe': ['-p', '18830'], 'http-server.exe': ['.'] }

/** Starts a process that maps `file` of the folder `images`, with its other images beside it. Throws where it does not come up. */
export async function startHost(system: Target, images: string, file: string): Promise<Server> {
  const isLibrary = /\.(so|dll)\b/.test(file)
  const own = ARGUMENTS[file]
  if (own !== undefined) return ready(await system.start(join(images, file), own), file, false)
  if (system.name === 'pe') {
    if (!isLibrary) throw new Error(`nobody has said with which arguments ${file} waits`)
    return ready(await system.start(await libraryHost(system), [system.path(join(images, file))]), file, true)
  }
  const folders = `LD_LIBRARY_PATH=${sonames(images)}`
  if (isLibrary) return ready(await system.start('/usr/bin/env', [folders, await libraryHost(system), join(images, file)]), file, true)
  return ready(await system.start('/usr/bin/env', [folders, `LD_PRELOAD=${await waitingLibrary()}`, join(images, file)]), file, true)
}

async function ready(server: Server, file: string, announces: boolean): Promise<Server> {
  const [end, started] = [Date.now() + READY_MS, Date.now()]
  const isUp = () => (announces ? server.output().includes('ready') : Date.now() - started > 1000)
  while (server.running() && !isUp() && Date.now() < end) await sleep(10)
  if (server.running() && isUp()) return server
  const output = server.output()
  await server.stop()
  throw new Error(`the process for ${file} did not come up: ${output.trim()}`)
}

const libraryHost = (system: Target): Promise<string> =>
  compiled(`library${system.programSuffix}`, [system.compiler, '-O2', join(SOURCES, 'library.c')])

const waitingLibrary = (): Promise<string> => compiled('waiting.so', ['gcc', '-O2', '-shared', '-fPIC', join(SOURCES, 'waiting.c')])

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
  for (const name of readdirSync(images).filter((file) => /\.so\b/.test(file)))
    symlinkSync(join(images, name), join(folder, readElf(readFileSync(join(images, name))).dynamic()?.soname ?? name))
  return folder
}
