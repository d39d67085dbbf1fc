/**
 * Resolution: from the changed functions along their references to everything that must come along, and for each reference where it
 * leads.
 *
 * - What is new, and constants without a name, travel. What was there before stays in the base image: its functions, its variables with
 *   their present values, its named constants.
 * - A call of a changed function goes to the new one. Its address, taken as a value, is that of the old one in the base image: pointers
 *   that the process compares or keeps stay what they were, also after the patch is undone.
 */
import type { Block, Edge, LinkGraph } from '../graph.ts'
import type { Libraries } from '../libraries.ts'
import { isAnonymous, isThreadLocal, parentName, primarySymbol } from '../places.ts'
import { afterGraphs, beforeGraphs, type Definition, definitionsIn, mentioning, ownersOf, type Program, type Twins } from '../program.ts'
import { type Reason, reason } from '../reasons.ts'
import type { Choice } from './choose.ts'
import type { Classified } from './classify.ts'
import type { Locator } from './locate.ts'
import { type Neighbours, NO_NEIGHBOURS } from './neighbours.ts'
import { targetOfBlock } from './resolve/blocks.ts'
import { type Context, definitionOf, isOneOfMany } from './resolve/context.ts'
import { targetOfName } from './resolve/names.ts'
import { nowhere, type Outcome, type Target } from './resolve/target.ts'
import { indexOfNewThreadLocals, isCallLeftOut, targetOfThreadLocal, whyNoRoom } from './resolve/thread-local.ts'

export interface Resolved {
  /** Blocks of the build after that travel, functions first, then what they lead to, in the order in which it was met. */
  readonly blocks: readonly Block[]
  readonly targets: ReadonlyMap<Edge, Target>
  readonly graphOf: ReadonlyMap<Block, LinkGraph>
  readonly reasons: readonly Reason[]
}

interface Difference {
  readonly twins: Twins
  readonly classified: Classified
}

export function resolve(
  program: Program,
  { twins, classified }: Difference,
  choice: Choice,
  locator: Locator,
  libraries: Libraries,
  neighbours: Neighbours = NO_NEIGHBOURS,
): Resolved {
  const after = afterGraphs(program)
  const identical = new Map<string, Definition | undefined>()
  const context: Context = {
    program,
    twins,
    classified,
    locator,
    libraries,
    neighbours,
    chosen: new Map(choice.functions.map((f) => [f.after, f])),
    graphOf: ownersOf(after),
    graphBefore: ownersOf(beforeGraphs(program)),
    visibleAfter: definitionsIn(after),
    visibleIdentical: (name) => {
      if (!identical.has(name)) identical.set(name, definitionsIn(mentioning(program, [name])).get(name)?.[0])
      return identical.get(name)
    },
  }
  const blocks = new Set<Block>()
  const targets = new Map<Edge, Target>()
  const reasons: Reason[] = []
  const queue: Block[] = []
  const include = (block: Block): void => {
    if (blocks.has(block)) return
    blocks.add(block)
    queue.push(block)
  }
  for (const { after: block } of choice.functions) include(block)
  if (choice.functions.length > 0 && choice.callout !== undefined) include(choice.callout)
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (const companion of next.companions) include(companion)
    if (next.group !== undefined) for (const other of groupOf(next, context)) include(other)
    for (const edge of next.edges) {
      if (edge.kind === 'cie32' && edge.target.block !== undefined) {
        include(edge.target.block)
        continue
      }
      const outcome = isCallLeftOut(edge, next, targets, context) ? NO_CALL : targetOf(edge, next, context)
      const noRoom = outcome.to === 'patch' && outcome.block.kind === 'tls' ? whyNoRoom(outcome.block, context) : undefined
      if (outcome.to === 'patch' && noRoom !== undefined) {
        reasons.push(reason('TLS_CHANGED', outcome.block.name, fileOf(outcome.block, context), noRoom))
        continue
      }
      if (outcome.to === 'nowhere') {
        reasons.push(reason(outcome.code, userName(next, context), fileOf(next, context), outcome.detail))
        continue
      }
      targets.set(edge, outcome)
      if (outcome.to === 'patch') include(outcome.block)
    }
  }
  return { blocks: [...blocks], targets, graphOf: context.graphOf, reasons }
}

const NO_CALL: Outcome = { to: 'no-call' }

/** Pieces of one section that keep their distance. */
function groupOf(block: Block, { graphOf }: Context): Block[] {
  return (graphOf.get(block)?.blocks ?? []).filter((b) => b.group === block.group)
}

const fileOf = (block: Block, { graphOf }: Context): string => graphOf.get(block)?.path ?? ''

/** The name that a person knows the user of a reference by: for unwind records, tables and cold parts, the function that has them. */
function userName(user: Block, { graphOf }: Context): string {
  const graph = graphOf.get(user)
  const seen = new Set<Block>()
  let block = user
  while (!seen.has(block)) {
    seen.add(block)
    const name = primarySymbol(block)?.name
    if (name !== undefined && block.kind !== 'unwind' && !isAnonymous(block)) return parentName(block) ?? name
    const owner = graph?.blocks.find((b) => !seen.has(b) && (b.companions.includes(block) || b.edges.some((e) => e.target.block === block)))
    if (owner === undefined) break
    block = owner
  }
  return user.name
}

function targetOf(edge: Edge, user: Block, context: Context): Outcome {
  const { target } = edge
  if (isThreadLocal(edge)) return targetOfThreadLocal(edge, user, context)
  const index = indexOfNewThreadLocals(edge, user, context)
  if (index !== undefined) return index
  if (target.absolute !== undefined) return { to: 'constant', value: target.absolute }
  if (target.block !== undefined) {
    // The linker keeps one of many copies: so does the patch.
    const one = isOneOfMany(target.block, target.binding) ? definitionOf(target.name, context) : undefined
    if (one === undefined || one === 'ambiguous') return targetOfBlock(edge, user, target.block, target.offset, context)
    return targetOfBlock(edge, user, one.block, one.symbol.offset, context)
  }
  const definition = definitionOf(target.name, context)
  if (definition === 'ambiguous')
    return nowhere('SYMBOL_AMBIGUOUS', `${target.name} is defined by several changed objects in different ways`)
  if (definition !== undefined) return targetOfBlock(edge, user, definition.block, definition.symbol.offset, context)
  return targetOfName(edge, context)
}
