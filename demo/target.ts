/** The two kinds of process that the demo patches, and what differs between them. */
import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clone } from '../tools/places.ts'
import { type Ran, run } from '../tools/run.ts'
import { hotpatchInWine, shutdownWine, spawnInWine, windowsPath } from '../tools/wine.mjs'

export type TargetName = 'elf' | 'pe'

export interface Server {
  /** As `hotpatch --pid` wants it: under Wine this is the pid that Windows programs see. */
  readonly pid: number
  /** As this system counts it, also under Wine; 0: it runs in a machine of its own. */
  readonly linuxPid: number
  /** What it has written to standard output and standard error so far. */
  output(): string
  /** The port of this system that leads to a port which the program listens on. */
  reach(port: number): Promise<number>
  /** False once it has ended. */
  running(): boolean
  /** Kills it and waits for its end. */
  stop(): Promise<void>
}

export interface Target {
  readonly name: TargetName
  readonly title: string
  /** The target in the names of bench/cves; undefined: it has no programs for it. */
  readonly corpus: 'elf-x64' | 'elf-arm64' | 'pe-x64' | undefined
  readonly compiler: string
  readonly compilerFlags: readonly string[]
  readonly linkFlags: readonly string[]
  readonly programSuffix: string
  readonly patchSuffix: string
  /** What the system can answer beside hotpatch. */
  readonly bears: 'much' | 'little'
  /** The task of tools/setup.mjs. */
  readonly setup: 'demo-elf' | 'demo-pe' | 'arm64'
  /** How a person would call hotpatch beside such a process. */
  readonly command: readonly string[]
  start(program: string, args: readonly string[]): Promise<Server>
  /** Runs hotpatch where it can see the process. `paths` among the arguments are given as that system names them. */
  hotpatch(args: readonly string[]): Promise<Ran>
  path(path: string): string
  /** Ends what `start` and `hotpatch` left running for their own sake. */
  close(): Promise<void>
}

/** The keys that are trusted while the demo runs; the machine's own are left alone. */
export const keys = join(clone, '.cache/demo/keys')

/** Throws where bench/cves has no programs for the target. */
export function corpusOf({ corpus, title }: Target): NonNullable<Target['corpus']> {
  if (corpus === undefined) throw new Error(`there are no programs with real holes for ${title}`)
  return corpus
}

/** hotpatch of this clone on this system. */
export const hotpatchHere = (args: readonly string[]): Promise<Ran> =>
  run(process.execPath, [join(clone, 'bin/hotpatch'), ...args], { cwd: clone, timeout: 120_000, env: { HOTPATCH_KEYS: keys } })

const elf: Target = {
  name: 'elf',
  title: 'Linux, ELF, x64',
  corpus: 'elf-x64',
  compiler: 'gcc',
  compilerFlags: ['-pthread'],
  linkFlags: ['-pthread'],
  programSuffix: '',
  patchSuffix: '.so',
  bears: 'much',
  setup: 'demo-elf',
  command: ['bin/hotpatch'],
  start: startHere,
  hotpatch: hotpatchHere,
  path: (path) => path,
  close: async () => {},
}

const pe: Target = {
  name: 'pe',
  title: 'Windows, PE, x64 (Wine)',
  corpus: 'pe-x64',
  compiler: 'x86_64-w64-mingw32-gcc',
  compilerFlags: [],
  linkFlags: ['-lws2_32'],
  programSuffix: '.exe',
  patchSuffix: '.dll',
  bears: 'much',
  setup: 'demo-pe',
  command: ['wine', 'node.exe', 'hotpatch'],
  start: startUnderWine,
  hotpatch: hotpatchUnderWine,
  path: windowsPath,
  close: shutdownWine,
}

export const targets: Readonly<Record<TargetName, Target>> = { elf, pe }

/** What must not outlive this process, however it ends. */
const unfinished = new Set<() => void>()
process.on('exit', () => {
  for (const kill of unfinished) kill()
})

async function startHere(program: string, args: readonly string[]): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-demo-'))
  const path = join(folder, 'output')
  const output = openSync(path, 'a')
  const child = spawn(program, args, { stdio: ['ignore', output, output] })
  closeSync(output)
  const ended = new Promise<void>((resolve, reject) => {
    child.on('exit', () => resolve())
    child.on('error', reject)
  })
  if (child.pid === undefined) await ended
  const kill = () => child.kill('SIGKILL')
  unfinished.add(kill)
  return {
    pid: child.pid ?? 0,
    linuxPid: child.pid ?? 0,
    output: () => readFileSync(path, 'utf8'),
    reach: async (port) => port,
    running: () => child.exitCode === null && child.signalCode === null,
    async stop() {
      kill()
      await ended
      unfinished.delete(kill)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function startUnderWine(program: string, args: readonly string[]): Promise<Server> {
  const started = await spawnInWine(program, [...args])
  let running = true
  const kill = () => {
    if (running) process.kill(started.linuxPid, 'SIGKILL')
  }
  const over = () => {
    running = false
    unfinished.delete(kill)
  }
  unfinished.add(kill)
  started.ended.then(over, over)
  return {
    pid: started.pid,
    linuxPid: started.linuxPid,
    output: () => started.stdout() + started.stderr(),
    reach: async (port) => port,
    running: () => running,
    stop: () => started.stop(),
  }
}

async function hotpatchUnderWine(args: readonly string[]): Promise<Ran> {
  const began = performance.now()
  const { status, stdout, stderr } = await hotpatchInWine([...args], { timeout: 120_000, env: { HOTPATCH_KEYS: windowsPath(keys) } })
  return { status, stdout, stderr, milliseconds: performance.now() - began }
}
