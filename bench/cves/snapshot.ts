/** What is kept of a build: all objects, and the images that a recipe names. */
import { copyFileSync, existsSync, linkSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import type { ImageRule } from './recipes.ts'
import { shell } from './shell.ts'

const OBJECT = /\.(o|obj)$/
/** Objects of the build system's own experiments, and of tests that no image contains. */
const NOT_OURS = /CMakeScratch|CompilerId|conftest|(^|\/)tests?\//

/**
 * Copies the tree's objects to `into`. One that equals its namesake below `earlier` becomes a hard link to it. Gives the paths
 * of those that do not, relative to the tree.
 */
export function keepObjects(tree: string, into: string, earlier?: string): string[] {
  rmSync(into, { recursive: true, force: true })
  const different: string[] = []
  for (const path of objectsIn(tree)) {
    const [source, kept, before] = [join(tree, path), join(into, path), join(earlier ?? into, path)]
    mkdirSync(dirname(kept), { recursive: true })
    if (earlier !== undefined && existsSync(before) && readFileSync(before).equals(readFileSync(source))) linkSync(before, kept)
    else {
      copyFileSync(source, kept)
      different.push(path)
    }
  }
  return different
}

function objectsIn(tree: string): string[] {
  return readdirSync(tree, { withFileTypes: true, recursive: true })
    .filter((found) => found.isFile() && OBJECT.test(found.name))
    .map((found) => relative(tree, join(found.parentPath, found.name)))
    .filter((path) => !NOT_OURS.test(path))
    .sort()
}

export interface KeptImage {
  /** File name below the kept build. */
  readonly file: string
  /** The folder of its objects below the kept build. */
  readonly objects: string
}

/** Copies the images that the recipe names to `into`. */
export function keepImages(tree: string, into: string, rules: readonly ImageRule[], env: Readonly<Record<string, string>>): KeptImage[] {
  mkdirSync(into, { recursive: true })
  return rules.flatMap(({ file, objects }) =>
    shell(`ls -d ${file} 2>/dev/null || true`, { cwd: tree, env })
      .split('\n')
      .filter((path) => path !== '')
      .map((path) => {
        copyFileSync(realpathSync(join(tree, path)), join(into, basename(path)))
        return { file: basename(path), objects: join('objects', objects) }
      }),
  )
}
