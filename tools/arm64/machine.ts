/** Starts ARM64 machines. Each runs one script and switches itself off. */
import { spawn } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import { CpioWriter } from './cpio.ts'
import type { Image } from './image.ts'

/**
 * How QEMU runs the machine's processors: in turns on one thread of the host, or on a thread for each. Programs that wait for each other all the time, as Wine's do, are ten times as fast in
 * turns on a busy host: what wakes another processor does not wait for the host's scheduler.
 */
const THREADS = { 'in turns': 'single', 'at once': 'multi' } as const
export type Processors = keyof typeof THREADS

const KERNEL = 'console=ttyAMA0 rdinit=/init quiet loglevel=3 panic=-1 random.trust_cpu=on mitigations=off cryptomgr.notests'
const ENDED = /^@ended (\d+)$/

export interface MachineRun {
  /** Exit code of the script; undefined: the machine ended without one, or the time was over. */
  readonly status: number | undefined
  readonly seconds: number
}

/** A machine that is on. */
export interface RunningMachine {
  /** When it is off. */
  readonly ended: Promise<MachineRun>
  off(): void
}

export interface MachineOptions {
  /** Gets each line that the machine writes. */
  line(text: string): void
  /** It is switched off then. */
  readonly timeoutSeconds: number
  /** Default: in turns. */
  readonly processors?: Processors
  /** Ports of this system's loopback interface that lead to ports of the machine. Without any it has no network. */
  readonly ports?: readonly { readonly here: number; readonly there: number }[]
}

/** Fills the folder /hotpatch/payload, in which `run.sh` is run; node_modules of the runtime dependencies lie beside it. */
export type Payload = (cpio: CpioWriter) => void

/** From the kernel on. */
export function startMachine(image: Image, payload: Payload, options: MachineOptions): RunningMachine {
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-arm64-'))
  try {
    const { ended, off } = emulate(image, fromTheKernel(image, payload, folder), options)
    return { ended: ended.finally(() => rmSync(folder, { recursive: true, force: true })), off }
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

/** What QEMU is told to start there. @param folder for the first file system; it must stay until the machine is on */
export function fromTheKernel({ parts, kernel, kernelArguments }: Image, payload: Payload, folder: string): string[] {
  const [initrd, part] = [join(folder, 'initrd'), join(folder, 'payload.cpio')]
  const cpio = new CpioWriter(part)
  cpio.folder('hotpatch/payload')
  payload(cpio)
  cpio.end()
  writeFileSync(initrd, '')
  for (const name of [...parts, part]) appendFileSync(initrd, readFileSync(name))
  return ['-kernel', kernel, '-initrd', initrd, '-append', [KERNEL, ...kernelArguments].join(' ')]
}

/** QEMU's process. */
export interface Emulator extends RunningMachine {
  /** To the machine's console. */
  type(text: string): void
  /** Where QEMU itself can be asked (qmp.ts), if its arguments say so: file descriptor 3. */
  readonly control: Duplex
}

/** @param start arguments of QEMU that say from where the machine starts */
export function emulate(
  { emulator, processor, processorCount, memory }: Image,
  start: readonly string[],
  { line, timeoutSeconds, processors = 'in turns', ports = [] }: MachineOptions,
): Emulator {
  const began = performance.now()
  const accelerator = `tcg,thread=${THREADS[processors]},tb-size=512`
  const machine = ['-M', 'virt,gic-version=3', '-cpu', processor, '-smp', `${processorCount}`, '-m', memory, '-accel', accelerator]
  const console = ['-nodefaults', '-no-reboot', '-nographic', '-serial', 'stdio']
  const forwards = ports.map(({ here, there }) => `,hostfwd=tcp:127.0.0.1:${here}-:${there}`).join('')
  const network = ports.length === 0 ? [] : ['-netdev', `user,id=net${forwards}`, '-device', 'virtio-net-device,netdev=net']
  const child = spawn(emulator, [...machine, ...console, ...network, ...start], { stdio: ['pipe', 'pipe', 'inherit', 'pipe'] })
  const [input, output, , control] = child.stdio as unknown as [Duplex, Duplex, null, Duplex]
  // A machine that is off reads no more.
  for (const stream of [input, control]) stream.on('error', () => {})
  const off = () => void child.kill('SIGKILL')
  process.once('exit', off)
  const timer = setTimeout(off, timeoutSeconds * 1000)
  const failed = new Promise<never>((_, reject) => child.once('error', reject))
  const read = async (): Promise<MachineRun> => {
    let status: number | undefined
    for await (const raw of createInterface({ input: output })) {
      const text = raw.replace(/\r$/, '')
      const ended = ENDED.exec(text)
      if (ended === null) line(text)
      else status = Number(ended[1])
    }
    return { status, seconds: (performance.now() - began) / 1000 }
  }
  const ended = Promise.race([read(), failed]).finally(() => {
    clearTimeout(timer)
    process.removeListener('exit', off)
    off()
  })
  return { ended, off, type: (text) => void input.write(text), control }
}
