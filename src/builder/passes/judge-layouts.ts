/** What changed layouts mean for a patch: which of them are let through, by which rule, and what speaks against the others. */
import type { Block, LinkGraph } from '../graph.ts'
import { type LayoutCase, RULES } from '../layouts/rules.ts'
import { describeUses, type Uses, usesOf } from '../layouts/uses.ts'
import { describeChange } from '../layouts/words.ts'
import { beforeGraphs, type Program } from '../program.ts'
import { type Reason, type ReasonCode, reason } from '../reasons.ts'
import type { TypeChange } from './layouts.ts'

export interface JudgedLayout {
  readonly change: TypeChange
  readonly reasons: readonly Reason[]
  /** Lets the change through only where all functions switch while no thread is inside any of them. */
  readonly atOneInstant: boolean
}

/** What a patch replaces, as far as it is known. */
export interface Replacement {
  /** Code of the build before that is replaced. */
  readonly switched: ReadonlySet<Block>
  /** Objects, by path, of whose code after some is in the patch. */
  readonly objects: ReadonlySet<string>
}

export function judgeLayouts(changes: readonly TypeChange[], program: Program, replacement: Replacement): JudgedLayout[] {
  return changes.map((change) => judge(change, program, replacement))
}

function judge(change: TypeChange, program: Program, replacement: Replacement): JudgedLayout {
  const [file = ''] = change.files
  const told = describeChange(change)
  const judged = (code: ReasonCode, detail: string, atOneInstant = false): JudgedLayout => ({
    change,
    reasons: [reason(code, change.key, file, detail)],
    atOneInstant,
  })
  if (!change.knownIn.some((path) => replacement.objects.has(path)))
    return judged('LAYOUT_SAFE', `untouched: no object that knows it has code in the patch; ${told}`)
  if (change.kind === 'enum') {
    const onlyAdded = change.sizeBefore === change.sizeAfter && change.members.every(({ what }) => what === 'added')
    return onlyAdded ? judged('LAYOUT_SAFE', `enum-grown: every old value means what it meant; ${told}`) : judged('ENUM_CHANGED', told)
  }
  const layout = caseOf(change, program, replacement)
  const lacking: string[] = []
  for (const { name, atOneInstant, judge: rule } of RULES) {
    const verdict = layout && rule(layout)
    if (verdict?.safe) return judged('LAYOUT_SAFE', `${name}: ${verdict.why}; ${told}`, atOneInstant)
    if (verdict !== undefined) lacking.push(`not ${name}: ${verdict.why}`)
  }
  return judged('LAYOUT_CHANGED', [told, layout && describeUses(layout.uses), ...lacking].filter(Boolean).join('; '))
}

function caseOf(change: TypeChange, program: Program, { switched }: Replacement): LayoutCase | undefined {
  const { key, before } = change
  if (before.kind === 'enum') return undefined
  const files = new Set(change.files)
  const near = program.pairs.flatMap((p) => (p.before !== undefined && files.has(p.path) ? [p.before] : []))
  let all: { graphs: LinkGraph[]; uses: Uses } | undefined
  return {
    key,
    change,
    before,
    uses: usesOf(key, near),
    everywhere: () => {
      if (all === undefined) {
        const graphs = [...beforeGraphs(program), ...program.identical.map((lazy) => lazy.graph())]
        all = { graphs, uses: usesOf(key, graphs) }
      }
      return all
    },
    switched,
  }
}
