/** Libraries of Debian for ARM64 that a recipe compiles and links with: of these packages alone, so that no other is found by chance. */
import { existsSync, lstatSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { unpackDebian } from '../../tools/arm64/packages.ts'
import { home } from './places.ts'
import { recipeOf } from './recipes.ts'
import { type TargetName, TRIPLE_OF_ARM64 } from './targets.ts'

/** The folder that stands for `/`; undefined where the package needs none. Throws what apt says. */
export async function sysrootFor(name: string, target: TargetName): Promise<string | undefined> {
  const packages = target === 'elf-arm64' ? recipeOf(name).arm64 : undefined
  if (packages === undefined) return undefined
  const root = join(home(), 'sysroots', packages.join('+'))
  if (existsSync(root)) return root
  const [part, apt] = [`${root}.part`, `${root}.apt`]
  for (const folder of [part, apt]) rmSync(folder, { recursive: true, force: true })
  await unpackDebian({ folder: apt, names: packages, root: part })
  for (const path of readdirSync(part, { recursive: true, encoding: 'utf8' })) keepWithin(part, join(part, path))
  rmSync(apt, { recursive: true, force: true })
  renameSync(part, root)
  return root
}

/** The shared objects in it, by the names that programs ask for. */
export function librariesIn(root: string): string[] {
  const folder = join(root, 'usr/lib', TRIPLE_OF_ARM64)
  return readdirSync(folder)
    .filter((name) => /\.so\.\d+$/.test(name))
    .map((name) => join(folder, name))
}

/** A link to an absolute path means one below the sysroot, not the machine's own file. */
function keepWithin(root: string, path: string): void {
  if (!lstatSync(path).isSymbolicLink()) return
  const to = readlinkSync(path)
  if (!to.startsWith('/')) return
  rmSync(path)
  symlinkSync(relative(dirname(path), join(root, to)), path)
}
