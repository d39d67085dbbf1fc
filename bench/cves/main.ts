/**
 * Real security fixes as before/after builds.
 *
 *   npm run cves -- list [PACKAGE]            the entries
 *   npm run cves -- build ID TARGET           both builds of one entry (kept ones are made anew)
 *   npm run cves -- package PACKAGE TARGET    all entries of a package, in the order of its series
 *   npm run cves -- trees ID                  the two source trees
 *
 * TARGET: elf-x64, pe-x64, elf-arm64.
 */
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type BuiltEntry, buildEntry } from './build.ts'
import { type CorpusEntry, corpus, entryOf } from './corpus.ts'
import { home } from './places.ts'
import { advance, rangeOf, restart } from './series.ts'
import { isTarget } from './targets.ts'

const say = (line: string) => process.stdout.write(`${line}\n`)

process.exitCode = main(process.argv.slice(2))

function main([command = '', ...args]: readonly string[]): number {
  const [what = '', target = ''] = args
  if (command === 'list') return list(what)
  if (command === 'trees') return trees(entryOf(what))
  if (command === 'build' && isTarget(target)) return report(buildEntry(entryOf(what), target))
  if (command === 'package' && isTarget(target)) return wholePackage(what, target)
  process.stderr.write('usage: npm run cves -- list [PACKAGE] | build ID TARGET | package PACKAGE TARGET | trees ID\n')
  return 2
}

function list(name: string): number {
  const wanted = corpus.filter((entry) => name === '' || entry.package === name)
  for (const { id, cve, expected, functions } of wanted) say(`${id}  ${cve.join(' ')}  ${expected}  ${functions.changed_n} functions`)
  return 0
}

function report({ id, target, before, images, different, seconds }: BuiltEntry): number {
  say(`${id} ${target}: before ${seconds.before} s, after ${seconds.after} s, ${different.length} objects differ`)
  for (const path of different) say(`  ${path}`)
  for (const { file, objects } of images) say(`  image ${join(before, file)}, objects ${join(before, objects)}`)
  return 0
}

function wholePackage(name: string, target: BuiltEntry['target']): number {
  const scratch = scratchTree(name)
  const entries = corpus.filter((entry) => entry.package === name && entry.targets.includes(target))
  const position = (entry: CorpusEntry) => rangeOf(scratch, entry).before
  let failures = 0
  for (const entry of [...entries].sort((a, b) => position(a) - position(b)))
    try {
      report(buildEntry(entry, target))
    } catch (error) {
      failures++
      say(`${entry.id} ${target}: ${error instanceof Error ? error.message : error}`)
    }
  return failures === 0 ? 0 : 1
}

/** A tree that is read, never built. */
function scratchTree(name: string): string {
  const tree = join(home(), 'trees', `${name}-series`)
  restart(name, tree)
  return tree
}

function trees(entry: CorpusEntry): number {
  const [before, after] = [join(home(), 'out', entry.id, 'source/before'), join(home(), 'out', entry.id, 'source/after')]
  restart(entry.package, before)
  const range = rangeOf(before, entry)
  advance(before, range.before)
  rmSync(after, { recursive: true, force: true })
  cpSync(before, after, { recursive: true, verbatimSymlinks: true })
  advance(after, range.after)
  say(before)
  say(after)
  return 0
}
