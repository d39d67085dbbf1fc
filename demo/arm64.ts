/** Linux on ARM64 as a target: the process runs in an emulated machine, the load and whatever works on files run here. */
import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Arm64Machine, startArm64 } from '../tools/arm64/agent-client.ts'
import { note } from '../tools/paper.ts'
import type { Ran } from '../tools/run.ts'
import { keys, type Server, type Target } from './target.ts'

/** In the machine. */
const [FILES, KEYS] = ['/root/demo', '/root/keys']
/** Milliseconds between two looks at a program. */
const LOOK = 200

let machine: Promise<Arm64Machine> | undefined
/** What the command line will name, by its path there. */
const wanted = new Map<string, string>()

export const arm64Target: Target = {
  name: 'elf',
  title: 'Linux, ELF, ARM64 (emulated)',
  corpus: 'elf-arm64',
  compiler: 'aarch64-linux-gnu-gcc',
  compilerFlags: ['-pthread', '-mbranch-protection=standard'],
  linkFlags: ['-pthread'],
  programSuffix: '',
  patchSuffix: '.so',
  setup: 'arm64',
  command: ['bin/hotpatch'],
  start,
  hotpatch,
  path(path) {
    const there = `${FILES}/${basename(path)}`
    if (existsSync(path)) wanted.set(there, path)
    return there
  },
  async close() {
    const on = await machine?.catch(() => undefined)
    machine = undefined
    await on?.off()
  },
}

function theMachine(): Promise<Arm64Machine> {
  if (machine === undefined) {
    note('starting the ARM64 machine')
    machine = startArm64(note)
  }
  return machine
}

async function start(program: string, args: readonly string[]): Promise<Server> {
  const on = await theMachine()
  const there = `${FILES}/${basename(program)}`
  await on.bring(program, there, 0o755)
  return serverIn(on, await on.start(there, args))
}

/** A program that was started there. */
export async function serverIn(on: Arm64Machine, pid: number): Promise<Server> {
  let seen = await on.look(pid)
  let looking = true
  const watch = async (): Promise<void> => {
    for (; looking && seen.running; await sleep(LOOK)) seen = await on.look(pid)
  }
  const watched = watch().catch(() => {
    seen = { ...seen, running: false }
  })
  return {
    pid,
    linuxPid: 0,
    output: () => seen.output,
    reach: (port) => on.relay(port),
    running: () => seen.running,
    async stop() {
      looking = false
      await watched
      await on.stop(pid)
    },
  }
}

async function hotpatch(args: readonly string[]): Promise<Ran> {
  const on = await theMachine()
  for (const [there, here] of wanted) await on.bring(here, there, 0o644)
  wanted.clear()
  const files = existsSync(keys) ? readdirSync(keys) : []
  for (const name of files) await on.bring(join(keys, name), `${KEYS}/${name}`, 0o600)
  return on.run('node', [on.hotpatch, ...args], { HOTPATCH_KEYS: KEYS })
}
