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
}

export function compareLayouts(program: Program): Layouts {
  const found = new Map<string, Omit<TypeChange, 'knownIn'> & { files: string[] }>()
  const without: string[] = []
  let compared = 0
  for (const pair of program.pairs) {
    if (pair.before === undefined || pair.after === undefined) continue
    const before = pair.before.types?.()
    const after = pair.after.types?.()
    if (before === undefined || after === undefined) {
      if (hasCodeOrData(pair)) without.push(pair.path)
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
  return { changes: changes.map((change) => ({ ...change, knownIn: knownIn(change.key, program) })), compared, without }
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

function* changesBetween(before: DebugTypes, after: DebugTypes): Generator<Omit<TypeChange, 'files' | 'knownIn'>> {
  for (const key of before.keys) {
    const print = after.fingerprint(key)
    if (print === undefined || print === before.fingerprint(key)) continue
    const ofBefore = before.definitions(key)
    const ofAfter = after.definitions(key)
    // Local types of several functions may have one name: those that are still there are no change.
    const gone = ofBefore.filter((b) => !ofAfter.some((a) => compareDefinitions(b, a) === undefined))
    const come = ofAfter.filter((a) => !ofBefore.some((b) => compareDefinitions(b, a) === undefined))
    for (let i = 0; i < gone.length && i < come.length; i++) {
      const [b, a] = [gone[i] as TypeDefinition, come[i] as TypeDefinition]
      const change = compareDefinitions(b, a)
      if (change !== undefined) yield { key, before: b, after: a, ...change }
    }
  }
}
