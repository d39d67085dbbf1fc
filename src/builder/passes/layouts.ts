/**
 * Layouts: which types are laid out otherwise in the build after. Code that did not change is the same in both builds, so it is right
 * with the new layout as it was with the old one; what speaks against a patch are objects that the old build has made and that the new
 * functions would come upon. docs/layout-rules.md has each rule by which a change is let through, with its proof.
 */
import type { DebugTypes, TypeDefinition } from '../../binary/types/model.ts'
import { compareDefinitions, type LayoutChange } from '../layouts/compare.ts'
import type { ObjectPair, Program } from '../program.ts'

/** A type whose layout differs. One name may stand for several types of different files: then there are several. */
export interface TypeChange extends LayoutChange {
  /** As in the model: `struct conn`. */
  readonly key: string
  /** Objects in which it differs so, by path. */
  readonly files: readonly string[]
  /** Objects of the build after whose code may know it: those that define it, and those that say nothing about types. */
  readonly knownIn: readonly string[]
  readonly before: TypeDefinition
  readonly after: TypeDefinition
}

export interface Layouts {
  /** By key. */
  readonly changes: readonly TypeChange[]
  /** Objects that differ and whose types were compared. */
  readonly compared: number
  /** Objects that differ and of which one side or both say nothing about types. */
  readonly without: readonly string[]
  /** Why that is so, one for each reason. */
  readonly notes: readonly string[]
}

export function compareLayouts(program: Program): Layouts {
  const found = new Map<string, Omit<TypeChange, 'knownIn'> & { files: string[] }>()
  const without: Without[] = []
  const changesBetween = remembering(changesOf)
  let compared = 0
  for (const pair of program.pairs) {
    if (pair.before === undefined || pair.after === undefined) continue
    const before = pair.before.types?.()
    const after = pair.after.types?.()
    if (before === undefined || after === undefined) {
      const why = [pair.before, pair.after].map((graph) => graph.whyNoTypes?.()).find((each) => each !== undefined)
      if (hasCodeOrData(pair)) without.push({ path: pair.path, why: why ?? NO_TYPES })
      continue
    }
    if (before.shared !== undefined && before.shared === after.shared) {
      without.push({ path: pair.path, why: `the types of both builds are in ${before.shared}, which does not tell them apart` })
      continue
    }
    compared++
    for (const change of changesBetween(before, after)) {
      const id = `${change.key}\n${JSON.stringify([change.sizeBefore, change.sizeAfter, change.members])}`
      const known = found.get(id)
      if (known === undefined) found.set(id, { ...change, files: [pair.path] })
      else known.files.push(pair.path)
    }
  }
  const changes = [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, change]) => change)
  return {
    changes: changes.map((change) => ({ ...change, knownIn: knownIn(change.key, program) })),
    compared,
    without: without.map(({ path }) => path),
    notes: [...new Set(without.map(({ why }) => why))].map((why) => noteOf(without.filter((each) => each.why === why))),
  }
}

interface Without {
  readonly path: string
  readonly why: string
}

const NO_TYPES = 'no debug information (compile both builds with -g)'

function noteOf([first, ...others]: readonly Without[]): string {
  const { path = '', why = '' } = first ?? {}
  const objects = others.length === 0 ? path : `${path} and ${others.length} more`
  return `layouts were not compared: ${objects}${why === NO_TYPES ? ` ${others.length === 0 ? 'has' : 'have'} ` : ': '}${why}`
}

/** Objects that did not change know no type that did. */
function knownIn(key: string, program: Program): string[] {
  return program.pairs.flatMap(({ path, after }) => {
    if (after === undefined) return []
    const types = after.types?.()
    return types === undefined || types.fingerprint(key) !== undefined ? [path] : []
  })
}

const hasCodeOrData = ({ before, after }: ObjectPair): boolean =>
  [before, after].some((graph) => graph?.blocks.some(({ kind, size }) => kind !== 'unwind' && size > 0))

type Found = Omit<TypeChange, 'files' | 'knownIn'>

function* changesOf(before: DebugTypes, after: DebugTypes): Generator<Found> {
  for (const key of before.keys) {
    const print = after.fingerprint(key)
    if (print === undefined || print === before.fingerprint(key)) continue
    for (const [b, a] of differing(before, after, key)) {
      const change = compareDefinitions(b, a)
      if (change !== undefined) yield { key, before: b, after: a, ...change }
    }
  }
}

function* differing(
  before: DebugTypes,
  after: DebugTypes,
  key: string,
): Generator<readonly [before: TypeDefinition, after: TypeDefinition]> {
  const ofBefore = before.definitions(key)
  const ofAfter = after.definitions(key)
  // Local types of several functions may have one name: those that are still there are no change.
  const gone = ofBefore.filter((b) => !ofAfter.some((a) => compareDefinitions(b, a) === undefined))
  const come = ofAfter.filter((a) => !ofBefore.some((b) => compareDefinitions(b, a) === undefined))
  // In what several objects share, an old definition stays as long as one of them has it, or for ever: a new one beside it is a change.
  const isShared = before.shared !== undefined || after.shared !== undefined
  const [lastBefore, lastAfter] = isShared ? [ofBefore.at(-1), ofAfter.at(-1)] : []
  for (let i = 0; i < Math.max(gone.length, come.length); i++) {
    const [b, a] = [gone[i] ?? lastBefore, come[i] ?? lastAfter]
    if (b !== undefined && a !== undefined) yield [b, a]
  }
}

/** Objects that share their types have one list of keys: what differs is found once for each two lists. */
function remembering(changes: (before: DebugTypes, after: DebugTypes) => Iterable<Found>): typeof changes {
  const known = new Map<readonly string[], Map<readonly string[], readonly Found[]>>()
  return (before, after) => {
    const ofBefore = known.get(before.keys) ?? new Map<readonly string[], readonly Found[]>()
    known.set(before.keys, ofBefore)
    const found = ofBefore.get(after.keys) ?? [...changes(before, after)]
    ofBefore.set(after.keys, found)
    return found
  }
}
