/** What changed layouts mean for a patch: which of them are let through, by which rule, and what speaks against the others. */

import type { LinkGraph } from '../graph.ts'
import { describeUses, usesOf } from '../layouts/uses.ts'
import { describeChange } from '../layouts/words.ts'
import type { Program } from '../program.ts'
import { type Reason, reason } from '../reasons.ts'
import type { TypeChange } from './layouts.ts'

export interface JudgedLayout {
  readonly change: TypeChange
  readonly reasons: readonly Reason[]
}

export function judgeLayouts(changes: readonly TypeChange[], program: Program): JudgedLayout[] {
  return changes.map((change) => ({ change, reasons: [judge(change, program)] }))
}

function judge(change: TypeChange, program: Program): Reason {
  const [file = ''] = change.files
  const told = describeChange(change)
  if (change.kind === 'enum') {
    const onlyAdded = change.sizeBefore === change.sizeAfter && change.members.every(({ what }) => what === 'added')
    return onlyAdded ? reason('LAYOUT_SAFE', change.key, file, `enum-grown: ${told}`) : reason('ENUM_CHANGED', change.key, file, told)
  }
  const uses = usesOf(change.key, graphsOf(change, program))
  return reason('LAYOUT_CHANGED', change.key, file, `${told}; ${describeUses(uses)}`)
}

function graphsOf({ files }: TypeChange, program: Program): LinkGraph[] {
  const wanted = new Set(files)
  return program.pairs.flatMap(({ path, before }) => (before !== undefined && wanted.has(path) ? [before] : []))
}
