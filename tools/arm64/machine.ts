/** Starts an ARM64 machine, runs one script in it, shows what it says. */
import { spawn } from 'node:child_process'
import { appendFileSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { CpioWriter } from './cpio.ts'
import type { Image } from './image.ts'

/** Pointer authentication by QEMU's own quick hash: the architected one makes everything twice as slow. */
const CPU = 'max,pauth-impdef=on'
const MEMORY = '2G'
const KERNEL = 'console=ttyAMA0 rdinit=/init quiet loglevel=3 panic=-1 random.trust_cpu=on mitigations=off'
const ENDED = /^@ended (\d+)$/

export interface MachineRun {
  /** Exit code of the script; undefined: the machine ended without one, or the time was over. */
  readonly status: number | undefined
  readonly seconds: number
}

/**
 * @param payload fills /hotpatch/payload, in which `run.sh` is run; node_modules of the runtime dependencies lie beside it
 * @param line gets each line that the machine writes
 */
export async function runMachine(
  image: Image,
  payload: (cpio: CpioWriter) => void,
  line: (text: string) => void,
  timeoutSeconds: number,
): Promise<MachineRun> {
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-arm64-'))
  try {
    const [initrd, part] = [join(folder, 'initrd'), join(folder, 'payload.cpio')]
    copyFileSync(image.base, initrd)
    const cpio = new CpioWriter(part)
    cpio.folder('hotpatch/payload')
    payload(cpio)
    cpio.end()
    appendFileSync(initrd, readFileSync(part))
    return await boot(image.kernel, initrd, line, timeoutSeconds)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function boot(kernel: string, initrd: string, line: (text: string) => void, timeoutSeconds: number): Promise<MachineRun> {
  const began = performance.now()
  const machine = ['-M', 'virt,gic-version=3', '-cpu', CPU, '-smp', '2', '-m', MEMORY, '-accel', 'tcg,thread=multi,tb-size=512']
  const parts = ['-nodefaults', '-no-reboot', '-nographic', '-serial', 'stdio', '-kernel', kernel, '-initrd', initrd, '-append', KERNEL]
  const child = spawn('qemu-system-aarch64', [...machine, ...parts], { stdio: ['ignore', 'pipe', 'inherit'] })
  const kill = () => void child.kill('SIGKILL')
  process.once('exit', kill)
  const timer = setTimeout(kill, timeoutSeconds * 1000)
  let status: number | undefined
  const failed = new Promise<never>((_, reject) => child.once('error', reject))
  const read = async () => {
    for await (const raw of createInterface({ input: child.stdout })) {
      const text = raw.replace(/\r$/, '')
      const ended = ENDED.exec(text)
      if (ended === null) line(text)
      else status = Number(ended[1])
    }
  }
  try {
    await Promise.race([read(), failed])
  } finally {
    clearTimeout(timer)
    process.removeListener('exit', kill)
    kill()
  }
  return { status, seconds: (performance.now() - began) / 1000 }
}
