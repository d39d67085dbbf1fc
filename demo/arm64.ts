/** Linux and Windows on ARM64 as targets: the process runs in an emulated machine, the load and whatever works on files run here. */
import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Arm64Machine, startArm64, startArm64Windows } from '../tools/arm64/agent-client.ts'
import { nodeInWine, onDriveZ, startInWine } from '../tools/arm64/wine-programs.ts'
import { note } from '../tools/paper.ts'
import { clone } from '../tools/places.ts'
import type { Ran } from '../tools/run.ts'
import { keys, type Server, type Target } from './target.ts'

/** In the machine. */
const [FILES, KEYS] = ['/root/demo', '/root/keys']
/** Milliseconds between two looks at a program. */
const LOOK = 200

/** What differs between the two systems. */
interface System {
  machine(log: (line: string) => void): Promise<Arm64Machine>
  start(on: Arm64Machine, program: string, args: readonly string[]): Promise<Server>
  hotpatch(on: Arm64Machine, args: readonly string[]): Promise<Ran>
  /** How it names a file of the machine. */
  path(file: string): string
}

const LINUX: System = {
  machine: startArm64,
  start: async (on, program, args) => serverIn(on, await on.start(program, args)),
  hotpatch: (on, args) => on.run('node', [on.hotpatch, ...args], { HOTPATCH_KEYS: KEYS }),
  path: (file) => file,
}

const WINDOWS: System = {
  machine: startArm64Windows,
  async start(on, program, args) {
    const { pid, starter, shower } = await startInWine(on, program, args)
    const [runs, shows] = [await serverIn(on, starter), await serverIn(on, shower)]
    return {
      ...runs,
      pid,
      output: () => shows.output(),
      async stop() {
        await runs.stop()
        await shows.stop()
      },
    }
  },
  hotpatch: (on, args) => nodeInWine(on, [onDriveZ(on.hotpatch), ...args], { HOTPATCH_KEYS: onDriveZ(KEYS) }),
  path: onDriveZ,
}

type Machined = Pick<Target, 'start' | 'hotpatch' | 'path' | 'close'>

/** A machine is started when something is first asked of it. */
function inMachine(system: System): Machined {
  let machine: Promise<Arm64Machine> | undefined
  /** What the command line will name, by its path there. */
  const wanted = new Map<string, string>()
  const theMachine = (): Promise<Arm64Machine> => {
    if (machine === undefined) {
      note('starting the ARM64 machine')
      machine = system.machine(note)
    }
    return machine
  }
  return {
    async start(program, args) {
      const on = await theMachine()
      const there = `${FILES}/${basename(program)}`
      await on.bring(program, there, 0o755)
      return system.start(on, there, args)
    },
    async hotpatch(args) {
      const on = await theMachine()
      for (const [there, here] of wanted) await on.bring(here, there, 0o644)
      wanted.clear()
      const files = existsSync(keys) ? readdirSync(keys) : []
      for (const name of files) await on.bring(join(keys, name), `${KEYS}/${name}`, 0o600)
      return system.hotpatch(on, args)
    },
    path(path) {
      const there = `${FILES}/${basename(path)}`
      if (existsSync(path)) wanted.set(there, path)
      return system.path(there)
    },
    async close() {
      const on = await machine?.catch(() => undefined)
      machine = undefined
      await on?.off()
    },
  }
}

export const arm64Target: Target = {
  name: 'elf',
  title: 'Linux, ELF, ARM64 (emulated)',
  corpus: 'elf-arm64',
  compiler: 'aarch64-linux-gnu-gcc',
  compilerFlags: ['-pthread', '-mbranch-protection=standard'],
  linkFlags: ['-pthread'],
  programSuffix: '',
  patchSuffix: '.so',
  bears: 'much',
  setup: 'arm64',
  command: ['bin/hotpatch'],
  ...inMachine(LINUX),
}

export const arm64WindowsTarget: Target = {
  name: 'pe',
  title: 'Windows, PE, ARM64 (Wine, emulated)',
  corpus: undefined,
  compiler: join(clone, 'test/targets/windows-arm64/cc'),
  compilerFlags: [],
  linkFlags: [],
  programSuffix: '.exe',
  patchSuffix: '.dll',
  bears: 'little',
  setup: 'arm64',
  command: ['wine', 'node.exe', 'hotpatch'],
  ...inMachine(WINDOWS),
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
