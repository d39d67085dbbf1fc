/** Where the corpus lies: ${XDG_CACHE_HOME:-~/.cache}/hotpatch/cves. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { cache } from '../../tools/places.ts'

export function home(): string {
  const path = join(cache, 'cves')
  mkdirSync(path, { recursive: true })
  return path
}

/** Where the two builds of an entry are kept. */
export const outputOf = (id: string, target: string): string => join(home(), 'out', id, target)

/** Where a package is built for a target: always in one path, which ends up in the objects. */
export const treeOf = (name: string, target: string): string => join(home(), 'trees', `${name}-${target}`)
