/** A source tree that moves along its package's quilt series, forwards only. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CorpusEntry, patchesOf } from './corpus.ts'
import { shell } from './shell.ts'
import { unpackSource } from './source.ts'

interface Patch {
  readonly name: string
  /** patch's -p option. */
  readonly strip: string
}

/** Positions count applied patches. */
export interface Range {
  readonly before: number
  readonly after: number
}

const MARK = '.hotpatch-position'

/** How many patches of the series are applied; undefined where there is no tree, or one whose last change was cut off. */
export function positionOf(tree: string): number | undefined {
  const mark = join(tree, MARK)
  const text = existsSync(mark) ? readFileSync(mark, 'utf8') : ''
  return /^\d+$/.test(text) ? Number(text) : undefined
}

/** Makes the tree new: unpacked, no patch applied. */
export function restart(name: string, tree: string): void {
  unpackSource(name, tree)
  writeFileSync(join(tree, MARK), '0')
}

/** Applies the patches up to `position`. */
export function advance(tree: string, position: number): void {
  const mark = join(tree, MARK)
  const current = positionOf(tree)
  if (current === undefined || current > position) throw new Error(`${tree} cannot be moved from ${current} to ${position}`)
  for (const [index, { name, strip }] of series(tree).slice(current, position).entries()) {
    writeFileSync(mark, 'moving')
    shell(`patch ${strip} -f -s --no-backup-if-mismatch < 'debian/patches/${name}'`, { cwd: tree })
    writeFileSync(mark, `${current + index + 1}`)
  }
}

/** From the first of the entry's patches to the last. */
export function rangeOf(tree: string, entry: CorpusEntry): Range {
  const names = series(tree).map(({ name }) => name)
  const indices = patchesOf(entry).map((patch) => {
    const index = names.indexOf(patch)
    if (index < 0) throw new Error(`${entry.package} has no patch ${patch} in its series`)
    return index
  })
  return { before: Math.min(...indices), after: Math.max(...indices) + 1 }
}

function series(tree: string): Patch[] {
  const lines = readFileSync(join(tree, 'debian/patches/series'), 'utf8').split('\n')
  return lines
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '')
    .map((line) => {
      const [name = '', ...options] = line.split(/\s+/)
      return { name, strip: options.find((option) => option.startsWith('-p')) ?? '-p1' }
    })
}
