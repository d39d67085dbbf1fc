/**
 * Real security fixes as before/after builds.
 *
 *   npm run cves [-- --target TARGET] [--package PACKAGE] [--id ID] [--json]
 *                                             tries them: builds, makes patches, applies them to live processes, takes them back
 *   npm run cves -- --dozen                   the same for a dozen small ones
 *   npm run cves -- servers [CVE ...] [--short] [--target elf|pe]
 *                                             real servers, seen by a client that can tell vulnerable from fixed
 *   npm run cves -- list [PACKAGE]            the entries
 *   npm run cves -- build ID TARGET           both builds of one entry (kept ones are made anew)
 *   npm run cves -- package PACKAGE TARGET    all entries of a package, in the order of its series
 *   npm run cves -- trees ID                  the two source trees
 *
 * TARGET: elf-x64, pe-x64, elf-arm64. Exit code 0 when all came out as the corpus expects.
 */
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { targets as systems } from '../../demo/target.ts'
import { type BuiltEntry, buildEntry } from './build.ts'
import { type CorpusEntry, corpus, entryOf } from './corpus.ts'
import { switchOff } from './machine.ts'
import { home } from './places.ts'
import { advance, rangeOf, restart } from './series.ts'
import { runServers } from './servers/main.ts'
import { isTarget, type TargetName } from './targets.ts'
import { dozen, selected, tryAll } from './trials.ts'

const say = (line: string) => process.stdout.write(`${line}\n`)

process.exitCode = await main(process.argv.slice(2))

async function main([command = '', ...args]: readonly string[]): Promise<number> {
  const [what = '', target = ''] = args
  if (command === '' || command.startsWith('--')) return trials([command, ...args].filter((word) => word !== ''))
  if (command === 'servers') return runServers(args)
  if (command === 'list') return list(what)
  if (command === 'trees') return trees(entryOf(what))
  if (command === 'build' && isTarget(target)) return report(await buildEntry(entryOf(what), target))
  if (command === 'package' && isTarget(target)) return wholePackage(what, target)
  return usage()
}

function usage(): number {
  process.stderr.write('usage: npm run cves -- [--target TARGET] [--package P] [--id I] [--dozen] [--json]\n')
  process.stderr.write(
    '                       servers [CVE ...] [--short] | list [PACKAGE] | build ID TARGET | package PACKAGE TARGET | trees ID\n',
  )
  return 2
}

/** Targets whose processes run here come first; arm64 is built and looked at. */
const TARGETS: readonly TargetName[] = ['elf-x64', 'pe-x64', 'elf-arm64']

async function trials(args: string[]): Promise<number> {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({ args, options: { target: text, package: text, id: text, dozen: flag, json: flag } })
  const { target } = values
  if (target !== undefined && !isTarget(target)) return usage()
  const wanted = values.dozen
    ? dozen()
    : selected({ targets: target === undefined ? TARGETS : [target], package: values.package, id: values.id })
  if (wanted.length === 0) return usage()
  try {
    return (await tryAll(wanted, values.json)) ? 0 : 1
  } finally {
    await Promise.all([systems.pe.close(), switchOff()])
  }
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

async function wholePackage(name: string, target: BuiltEntry['target']): Promise<number> {
  const scratch = scratchTree(name)
  const entries = corpus.filter((entry) => entry.package === name && entry.targets.includes(target))
  const position = (entry: CorpusEntry) => rangeOf(scratch, entry).before
  let failures = 0
  for (const entry of [...entries].sort((a, b) => position(a) - position(b)))
    try {
      report(await buildEntry(entry, target))
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
