/** What one build has made, kept before the next one overwrites it: for every image the image itself and the objects that went into it. */
import { constants, copyFileSync, existsSync, linkSync, mkdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { HotpatchError } from '../errors.ts'
import type { LinkedImage } from './links.ts'

export interface KeptImage {
  /** Relative to the source tree. */
  readonly name: string
  /** The image. */
  readonly image: string
  /** Folder with the objects and archives, each at its path in the tree. */
  readonly objects: string
  /** Their paths in that folder. */
  readonly files: readonly string[]
}

/**
 * @param roots folders of the build with the names that they get in `into`
 * Throws OBJECTS_GONE.
 */
export function keep(images: readonly LinkedImage[], roots: Readonly<Record<string, string>>, into: string): KeptImage[] {
  const copies = new Map<string, string>()
  /** One copy of each file; an object of several images is linked. */
  const keepFile = (file: string, as: string): void => {
    mkdirSync(dirname(as), { recursive: true })
    const known = copies.get(file)
    if (known !== undefined) {
      linkSync(known, as)
      return
    }
    if (!existsSync(file)) throw new HotpatchError('OBJECTS_GONE', `${file} was linked, and is not there any more`)
    copyFileSync(file, as, constants.COPYFILE_FICLONE)
    copies.set(file, as)
  }
  return images.map(({ path, files }) => {
    const name = placeIn(path, roots)
    const objects = join(into, 'objects', name)
    const image = join(into, 'images', name)
    keepFile(path, image)
    const kept = files.map((file) => placeIn(file, roots))
    for (const [i, file] of files.entries()) keepFile(file, join(objects, kept[i] as string))
    return { name, image, objects, files: kept }
  })
}

function placeIn(path: string, roots: Readonly<Record<string, string>>): string {
  for (const [root, name] of Object.entries(roots)) {
    const within = relative(root, path)
    if (!within.startsWith('..')) return join(name, within)
  }
  return path.replace(/^\/+/, '')
}
