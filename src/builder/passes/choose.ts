/**
 * Choosing: which differences concern the base image. A tree of objects makes several programs, often from one source compiled
 * twice with different flags; only what the base image holds is patched, and only that can stand in the way.
 */
import { CALLOUT } from '../../patch/definitions.ts'
import type { Block, LinkGraph } from '../graph.ts'
import { entryOf, functionSize, primarySymbol } from '../places.ts'
import { mentioning, type Program } from '../program.ts'
import { type Reason, reason, refuses } from '../reasons.ts'
import type { Change, Classified, Located } from './classify.ts'
import { shape } from './correlate.ts'
import { type Fragment, fragmentsOf } from './fragments.ts'
import type { Finding, Locator } from './locate.ts'
import { type Neighbours, NO_NEIGHBOURS } from './neighbours.ts'

/** A changed function that was found in the base image. */
export interface ChosenFunction {
  readonly change: Change
  readonly before: Block
  readonly after: Block
  readonly graphBefore: LinkGraph
  readonly graphAfter: LinkGraph
  /** Of the old function's entry. */
  readonly rva: number
  /** Of the old function, from its entry. */
  readonly size: number
  readonly how: 'symbol' | 'content' | 'reference'
  /** Of the old function. */
  readonly fragments: readonly Fragment[]
}

export interface Choice {
  /** By ascending RVA. */
  readonly functions: readonly ChosenFunction[]
  /** The patch's callback: new, and nobody refers to it. */
  readonly callout: Block | undefined
  /** What stands in the way, and remarks. */
  readonly reasons: readonly Reason[]
}

export function choose(program: Program, { changes }: Classified, locator: Locator, neighbours: Neighbours = NO_NEIGHBOURS): Choice {
  const reasons: Reason[] = []
  const copies = new Map<number, ChosenFunction[]>()
  const places: Places = { program, locator, changes, neighbours }
  for (const change of changes) {
    if (change.kind === 'function' && change.change === 'changed') {
      const finding = place(change, places)
      if (!finding.found) {
        if (finding.code === 'NOT_IN_BASE' && isKept(change, neighbours)) continue
        reasons.push(reason(finding.code, change.name, change.file, finding.detail))
        continue
      }
      const chosen = chosenAt(change, finding.rva, finding.how)
      if (chosen !== undefined) copies.set(chosen.rva, [...(copies.get(chosen.rva) ?? []), chosen])
    } else if (change.reasons.some(refuses) && concernsBase(change, places)) {
      // What a function needs is asked of those functions that are patched, when their references are resolved.
      reasons.push(...change.reasons.filter((r) => !ASKED_LATER.has(r.code)))
    }
  }
  const functions: ChosenFunction[] = []
  for (const ofPlace of copies.values()) {
    const one = oneCopy(ofPlace, locator)
    const fragments = 'code' in one ? one : fragmentsOf(one.graphBefore, one.before, locator)
    if ('code' in one) reasons.push(one)
    else if ('code' in fragments) reasons.push(fragments)
    else {
      functions.push({ ...one, fragments })
      reasons.push(...one.change.reasons.filter((r) => !ASKED_LATER.has(r.code)))
    }
  }
  const callout = calloutOf(changes)
  if (callout !== undefined && 'code' in callout) reasons.push(callout)
  return {
    functions: functions.sort((a, b) => a.rva - b.rva),
    callout: callout !== undefined && 'block' in callout ? callout.block : undefined,
    reasons,
  }
}

function calloutOf(changes: readonly Change[]): Located | Reason | undefined {
  const isCallout = ({ kind, change, name, after }: Change): boolean =>
    kind === 'function' &&
    change === 'added' &&
    name === CALLOUT &&
    after?.block.symbols.some((s) => s.name === CALLOUT && s.binding !== 'local') === true
  const [first, ...others] = changes.filter(isCallout)
  if (first === undefined || others.length === 0) return first?.after
  const files = [first, ...others].map(({ file }) => file).join(', ')
  return reason('SYMBOL_AMBIGUOUS', CALLOUT, first.file, `${files} each have one: a patch has one callback`)
}

/** Given by `classify` for `diff`, which knows no base image; `resolve` asks them again of what the patch really contains. */
const ASKED_LATER: ReadonlySet<string> = new Set(['IMPORT_ADDED', 'TLS_UNSUPPORTED'])

interface Places {
  readonly program: Program
  readonly locator: Locator
  readonly changes: readonly Change[]
  readonly neighbours: Neighbours
}

/** The patch for another image of the update has it. */
const isKept = ({ before }: Change, { keeperOf }: Neighbours): boolean =>
  before !== undefined && keeperOf(before.graph, before.block) !== undefined

function chosenAt(change: Change, rva: number, how: ChosenFunction['how']): ChosenFunction | undefined {
  const { before, after } = change
  if (before === undefined || after === undefined) return undefined
  return {
    change,
    before: before.block,
    after: after.block,
    graphBefore: before.graph,
    graphAfter: after.graph,
    rva: rva + entryOf(before.block),
    size: functionSize(before.block),
    how,
    fragments: [],
  }
}

/** Where the old side of a change lies. Bytes that differ mean nothing if they are those of another object's thing of that name. */
function place(change: Change, places: Places): Finding {
  const { before } = change
  if (before === undefined) return { found: false, code: 'NOT_IN_BASE', detail: 'it is new' }
  const finding = places.locator.find(before.graph, before.block)
  if (finding.found || !MAY_BE_ANOTHERS.has(finding.code)) return finding
  // Where nothing names it, the object's other functions tell whether it is here at all.
  const holder = finding.code === 'SYMBOL_MISSING' ? places.neighbours.holderOf(before.graph) : undefined
  if (holder !== undefined) return { found: false, code: 'NOT_IN_BASE', detail: `${before.graph.path} went into ${holder.name}` }
  const other = otherHome(change, places)
  return other === undefined
    ? finding
    : { found: false, code: 'NOT_IN_BASE', detail: `${places.locator.base.name} has the one of ${other}` }
}

/** A name's place that is not this object's thing: another object may have one of the same name. */
const MAY_BE_ANOTHERS: ReadonlySet<string> = new Set(['BASE_MISMATCH', 'SYMBOL_MISSING'])

/** Another object whose thing of this name is what lies in the base image. */
function otherHome(change: Change, { program, locator, changes }: Places): string | undefined {
  const isHome = (graph: LinkGraph, block: Block): boolean => block !== change.before?.block && locator.find(graph, block).found
  for (const { before, name } of changes)
    if (name === change.name && before !== undefined && isHome(before.graph, before.block)) return before.graph.path
  const homeIn = (graph: LinkGraph): boolean =>
    graph.symbols.some((s) => s.name === change.name && s.block !== undefined && isHome(graph, s.block))
  for (const { before: graph } of program.pairs) if (graph !== undefined && homeIn(graph)) return graph.path
  for (const graph of mentioning(program, [change.name])) if (homeIn(graph)) return graph.path
  return undefined
}

/** Whether a change (of a function's code aside) is one of something that the base image holds. */
function concernsBase(change: Change, places: Places): boolean {
  if (change.kind === 'import' || change.kind === 'unwind') return false
  if (change.before !== undefined && primarySymbol(change.before.block) !== undefined && change.kind !== 'thread-local') {
    const finding = place(change, places)
    return finding.found || finding.code !== 'NOT_IN_BASE'
  }
  const pair = places.program.pairs.find((p) => p.path === change.file)
  if (pair?.before === undefined) return true
  if (places.neighbours.holderOf(pair.before) !== undefined) return false
  const { same, different } = places.locator.agreement(pair.before)
  return different === 0 || same > different
}

/**
 * The same function from several objects (inline functions, sources compiled twice). Where the new versions differ, that of the object
 * is taken that agrees with the base image throughout.
 */
function oneCopy(copies: readonly ChosenFunction[], locator: Locator): ChosenFunction | Reason {
  const sorted = [...copies].sort((a, b) => (a.change.file < b.change.file ? -1 : 1))
  const first = sorted[0] as ChosenFunction
  if (new Set(sorted.map((c) => shape(c.after))).size === 1) return sorted.find((c) => agrees(c, locator)) ?? first
  const agreeing = sorted.filter((c) => agrees(c, locator))
  const [one, ...others] = agreeing
  if (one !== undefined && others.length === 0) return one
  const files = sorted.map((c) => c.change.file).join(', ')
  return reason('SYMBOL_AMBIGUOUS', first.change.name, first.change.file, `${files} hold the same old version and different new ones`)
}

const agrees = (c: ChosenFunction, locator: Locator): boolean => locator.agreement(c.graphBefore).different === 0
