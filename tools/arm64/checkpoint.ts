/** A machine that has come up, as QEMU keeps it in a file. Any number of machines go on from there: they need a second for what took the first one half a minute. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Image } from './image.ts'
import { type Emulator, emulate, fromTheKernel, type MachineOptions, type Payload, type RunningMachine } from './machine.ts'
import { CONTROL, type Control, controlOf } from './qmp.ts'

export interface Checkpoint {
  readonly image: Image
  /** As long as the machine's memory, with holes. */
  readonly file: string
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
export async function makeCheckpoint({ image, file }: Checkpoint, payload: Payload, timeoutSeconds: number): Promise<void> {
  const files = mkdtempSync(join(tmpdir(), 'hotpatch-arm64-'))
  try {
    const said: string[] = []
    let isReady = () => {}
    const ready = new Promise<void>((resolve) => {
      isReady = resolve
    })
    const line = (text: string): void => (text === READY ? isReady() : void said.push(text))
    const machine = emulate(image, [...CONTROL, ...fromTheKernel(image, payload, files)], { line, timeoutSeconds })
    const ended = machine.ended.then(() => {
      throw new Error(`the ARM64 machine did not come up: ${said.slice(-20).join('\n')}`)
    })
    try {
      await Promise.race([ready, ended])
      await keep(await controlled(machine), file)
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
export function goOn({ image, file }: Checkpoint, script: string, options: MachineOptions): RunningMachine {
  const lines = [`busybox date -s @${Math.floor(Date.now() / 1000)} > /dev/null`, ...script.split('\n')]
  if (lines.some((line) => Buffer.byteLength(line) > LONGEST_LINE)) throw new Error('the script has a line too long for a terminal')
  const machine = emulate(image, [...CONTROL, '-incoming', 'defer'], options)
  const going = (async () => {
    const control = await controlled(machine)
    // What is typed before is lost: the state of the console is that of the checkpoint.
    const resumed = control.event('RESUME')
    await control.ask('migrate-incoming', { uri: `file:${file}` })
    await resumed
    machine.type([...lines, END, ''].join('\n'))
  })().catch((cause) => {
    machine.off()
    throw new Error(`no machine goes on from ${file}: delete it, and it is made anew`, { cause })
  })
  // A machine that its time has ended, or that was switched off, says so itself.
  const ended = Promise.all([machine.ended, going]).then(([run]) => run)
  return { ended, off: machine.off }
}

/** Each page of the memory has a place of its own in the file (docs/devel/migration/mapped-ram.rst in QEMU, 9 and later): a gigabyte is read in a second. */
async function controlled({ control }: Emulator): Promise<Control> {
  const asked = await controlOf(control)
  await asked.ask('migrate-set-capabilities', { capabilities: [{ capability: 'mapped-ram', state: true }] })
  return asked
}

/** The machine runs on while its state is written, and is stopped with the last of it: a machine that goes on from there runs at once. */
async function keep(control: Control, file: string): Promise<void> {
  await control.ask('migrate', { uri: `file:${file}` })
  for (;;) {
    const { status, 'error-desc': why = '' } = (await control.ask('query-migrate')) as { status: string; 'error-desc'?: string }
    if (status === 'completed') return
    if (status === 'failed' || status === 'cancelled') throw new Error(`QEMU could not keep the machine: ${status} ${why}`)
    await sleep(20)
  }
}
