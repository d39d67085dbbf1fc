/**
 * The emulator: QEMU 10, which Debian 12 has among its backports only. Debian 12's own 7.2 goes on with what it has translated where one processor writes code that another one runs.
 * The program is unpacked, not installed: what it needs of the system the package of 7.2 brings.
 */
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { mustRun } from '../run.ts'
import { cached } from './cached.ts'
import { unpackDebian } from './packages.ts'

const PROGRAM = 'qemu-system-aarch64'
const PACKAGE = 'qemu-system-arm'
const WANTED = 10

/** The path of the program. Throws what fetching throws. */
export async function ensureQemu(log: (line: string) => void): Promise<string> {
  if ((await majorOf(PROGRAM)) >= WANTED) return PROGRAM
  const suite = `${releaseName()}-backports`
  const { folder } = await cached(['qemu.ts', 'packages.ts'], suite, (part) => make(part, suite, log))
  return join(folder, PROGRAM)
}

async function make(folder: string, suite: string, log: (line: string) => void): Promise<void> {
  log(`fetching QEMU ${WANTED} of ${suite} (once; 10 MB)`)
  const debian = join(folder, 'debian')
  await unpackDebian({ folder: join(folder, 'apt'), names: [PACKAGE], root: debian, suite, architecture: 'amd64' }).catch(
    (error: Error) => {
      throw new Error(
        `QEMU ${WANTED} is taken from ${suite}, which the mirror in this machine's apt sources does not give: ${error.message}`,
      )
    },
  )
  copyFileSync(join(debian, 'usr/bin', PROGRAM), join(folder, PROGRAM))
  for (const name of ['apt', 'debian']) rmSync(join(folder, name), { recursive: true, force: true })
  const major = await majorOf(join(folder, PROGRAM))
  if (major < WANTED) throw new Error(`the QEMU of ${suite} is ${major}; the ARM64 machine takes ${WANTED} or later`)
}

async function majorOf(program: string): Promise<number> {
  const { stdout } = await mustRun(program, ['--version'])
  return Number(/^QEMU emulator version (\d+)\./.exec(stdout)?.[1] ?? 0)
}

/** Debian's name for the release of this machine. */
function releaseName(): string {
  const name = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  if (name === undefined) throw new Error('/etc/os-release does not name the release of Debian that this machine has')
  return name
}
