/**
 * A machine that has come up, as QEMU keeps it in files. Any number of machines go on from there, each with its own copy of what it changes in the memory: they need no second for what took the first one
 * half a minute, and share what they only read.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Image } from './image.ts'
import { type Emulator, emulate, fromTheKernel, type MachineOptions, type Payload, type RunningMachine } from './machine.ts'
import { CONTROL, type Control, controlOf } from './qmp.ts'

export interface Checkpoint {
  readonly image: Image
  /** Two files: the machine's memory, as long as that is but with holes, and the state of its devices. */
  readonly folder: string
}

const READY = '@ready'
const END = '@end'
/** What a machine does at its checkpoint: it reads a script from its console and runs it. */
const GO_ON = [
  'busybox stty -F /dev/console -echo',
  'exec 3< /dev/console',
  `echo ${READY}`,
  `while IFS= read -r line <&3 && [ "$line" != ${END} ]; do printf '%s\\n' "$line"; done > /tmp/go-on.sh`,
  'exec 3<&-',
  '. /tmp/go-on.sh',
  '',
]
/** A longer one would be cut by the terminal (N_TTY_BUF_SIZE, 4096). */
const LONGEST_LINE = 4000

/** The script for a machine of which a checkpoint is made. @param prepare its lines until there */
export const untilCheckpoint = (prepare: readonly string[]): string => [...prepare, ...GO_ON].join('\n')

/** @param payload brings the script of untilCheckpoint as `run.sh` @throws what the machine has said when it does not come so far */
export async function makeCheckpoint(checkpoint: Checkpoint, payload: Payload, timeoutSeconds: number): Promise<void> {
  const { image, folder } = checkpoint
  mkdirSync(folder, { recursive: true })
  const files = mkdtempSync(join(tmpdir(), 'hotpatch-arm64-'))
  try {
    const said: string[] = []
    let isReady = () => {}
    const ready = new Promise<void>((resolve) => {
      isReady = resolve
    })
    const line = (text: string): void => (text === READY ? isReady() : void said.push(text))
    const start = [...memoryIn(checkpoint, 'on'), ...CONTROL, ...fromTheKernel(image, payload, files)]
    const machine = emulate(image, start, { line, timeoutSeconds })
    const ended = machine.ended.then(() => {
      throw new Error(`the ARM64 machine did not come up: ${said.slice(-20).join('\n')}`)
    })
    try {
      await Promise.race([ready, ended])
      await keep(await controlled(machine), folder)
    } finally {
      machine.off()
      await ended.catch(() => {})
    }
  } finally {
    rmSync(files, { recursive: true, force: true })
  }
}

/**
 * A machine that goes on from it and runs a script, in the shell that has run those lines until there.
 * @throws when a line of the script is too long for a terminal
 */
export function goOn(checkpoint: Checkpoint, script: string, options: MachineOptions): RunningMachine {
  const { image, folder } = checkpoint
  const lines = [`busybox date -s @${Math.floor(Date.now() / 1000)} > /dev/null`, ...script.split('\n')]
  if (lines.some((line) => Buffer.byteLength(line) > LONGEST_LINE)) throw new Error('the script has a line too long for a terminal')
  const machine = emulate(image, [...memoryIn(checkpoint, 'off'), ...CONTROL, '-incoming', 'defer'], options)
  const going = (async () => {
    const control = await controlled(machine)
    // What is typed before is lost: the state of the console is that of the checkpoint.
    const resumed = control.event('RESUME')
    await control.ask('migrate-incoming', { uri: stateIn(folder) })
    await resumed
    machine.type([...lines, END, ''].join('\n'))
  })().catch((error) => {
    machine.off()
    throw error
  })
  // A machine that its time has ended, or that was switched off, says so itself.
  const ended = Promise.all([machine.ended, going]).then(([run]) => run)
  return { ended, off: machine.off }
}

/** Its memory is a file, of which the machine changes the file itself or its own copy. */
const memoryIn = ({ image, folder }: Checkpoint, share: 'on' | 'off'): string[] => [
  ...['-object', `memory-backend-file,id=ram,size=${image.memory},mem-path=${join(folder, 'memory')},share=${share}`],
  ...['-machine', 'memory-backend=ram'],
]

const stateIn = (folder: string): string => `file:${join(folder, 'devices')}`

/** For the state of its devices alone: its memory is in its file. */
async function controlled({ control }: Emulator): Promise<Control> {
  const asked = await controlOf(control)
  await asked.ask('migrate-set-capabilities', { capabilities: [{ capability: 'x-ignore-shared', state: true }] })
  return asked
}

/** The machine runs on while its state is written, and is stopped with the last of it: a machine that goes on from there runs at once. */
async function keep(control: Control, folder: string): Promise<void> {
  await control.ask('migrate', { uri: stateIn(folder) })
  for (;;) {
    const { status, 'error-desc': why = '' } = (await control.ask('query-migrate')) as { status: string; 'error-desc'?: string }
    if (status === 'completed') return
    if (status === 'failed' || status === 'cancelled') throw new Error(`QEMU could not keep the machine: ${status} ${why}`)
    await sleep(20)
  }
}
