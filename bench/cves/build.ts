/** One entry of the corpus for one target: both builds made in one tree, the second incrementally, and kept. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CorpusEntry, entryOf } from './corpus.ts'
import { outputOf, treeOf } from './places.ts'
import { imagesOf, recipeOf, type Step, stepOf } from './recipes.ts'
import { advance, positionOf, rangeOf, restart } from './series.ts'
import { shell } from './shell.ts'
import { type KeptImage, keepImages, keepObjects } from './snapshot.ts'
import { sysrootFor } from './sysroot.ts'
import { environmentFor, type TargetName } from './targets.ts'

export interface BuiltEntry {
  readonly id: string
  readonly target: TargetName
  /** Folders with `objects/` and the images. */
  readonly before: string
  readonly after: string
  readonly images: readonly KeptImage[]
  /** Objects that differ, relative to `objects/`. */
  readonly different: readonly string[]
  readonly seconds: { readonly configure: number; readonly before: number; readonly after: number }
}

const CONFIGURED = '.hotpatch-configured'

/** The builds that are kept from an earlier time, or new ones. */
export async function builtEntry(id: string, target: TargetName): Promise<BuiltEntry> {
  const record = join(outputOf(id, target), 'built.json')
  return existsSync(record) ? JSON.parse(readFileSync(record, 'utf8')) : buildEntry(entryOf(id), target)
}

export async function buildEntry(entry: CorpusEntry, target: TargetName): Promise<BuiltEntry> {
  const [output, tree] = [outputOf(entry.id, target), treeOf(entry.package, target)]
  rmSync(output, { recursive: true, force: true })
  mkdirSync(output, { recursive: true })
  const [before, after, log] = [join(output, 'before'), join(output, 'after'), join(output, 'log.txt')]
  const env = environmentFor(target, tree, await sysrootFor(entry.package, target))
  const rules = imagesOf(entry.package)
  const step = (which: Step) => timed(() => runStep(entry.package, target, which, { tree, log, env }))

  const range = moveBefore(entry, tree)
  const configured = join(tree, CONFIGURED)
  const configure = existsSync(configured) ? 0 : step('configure')
  writeFileSync(configured, '')
  const first = step('build')
  keepObjects(tree, join(before, 'objects'))
  const images = keepImages(tree, before, rules, env)

  advance(tree, range.after)
  const second = step('build')
  const different = keepObjects(tree, join(after, 'objects'), join(before, 'objects'))
  keepImages(tree, after, rules, env)

  const seconds = { configure, before: first, after: second }
  const built: BuiltEntry = { id: entry.id, target, before, after, images, different, seconds }
  writeFileSync(join(output, 'built.json'), `${JSON.stringify(built, null, 1)}\n`)
  return built
}

/** Brings the tree to where the entry's fix is the next patch: onwards from where it is, or from the start. */
function moveBefore(entry: CorpusEntry, tree: string): { before: number; after: number } {
  const position = positionOf(tree)
  if (position === undefined || position > rangeOf(tree, entry).before) restart(entry.package, tree)
  const range = rangeOf(tree, entry)
  advance(tree, range.before)
  return range
}

interface Where {
  readonly tree: string
  readonly log: string
  readonly env: Readonly<Record<string, string>>
}

function runStep(name: string, target: TargetName, which: Step, { tree, log, env }: Where): void {
  const script = stepOf(name, target, which)
  if (script !== undefined) shell(script, { cwd: join(tree, recipeOf(name).folder ?? ''), env, log })
}

function timed(work: () => void): number {
  const began = performance.now()
  work()
  return Math.round(performance.now() - began) / 1000
}
