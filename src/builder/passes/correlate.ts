/**
 * Correlation: which block of the build after is which block of the build before.
 *
 * Names decide where they are names. Where a compiler numbered them (static locals `state.3`, clones `parse.constprop.0`) the numbers
 * move with every edit above, so those are told apart by what they are made of (code) or by who uses them (data). What remains
 * uncertain stays without a twin: for code that is safe (the callers then differ too), for data it is reported.
 */
import { createHash } from 'node:crypto'
import type { Block, LinkGraph } from '../graph.ts'
import { unnumbered } from '../names.ts'
import { isAnonymous, isOfInterest, primarySymbol, referrersIn } from '../places.ts'
import type { ObjectPair, Program, Twins } from '../program.ts'

interface Draft {
  readonly before: Map<Block, Block>
  readonly after: Map<Block, Block>
  readonly ambiguous: Set<Block>
}

export function correlate(program: Program): Twins {
  const draft: Draft = { before: new Map(), after: new Map(), ambiguous: new Set() }
  for (const pair of program.pairs) pairWithinObject(pair, draft)
  pairAcrossObjects(program, draft)
  for (const pair of program.pairs) doubtUnpaired(pair, draft)
  return draft
}

const unite = (draft: Draft, before: Block, after: Block): void => {
  draft.before.set(before, after)
  draft.after.set(after, before)
}

/** Code is paired with code, data with data of whatever kind: a variable that moved from .bss to .data is that variable still. */
const classOf = (block: Block): string => (block.kind === 'code' ? 'code' : block.kind === 'tls' ? 'tls' : 'data')
const nameOf = (block: Block): string => primarySymbol(block)?.name ?? block.name

function pairWithinObject({ before, after }: ObjectPair, draft: Draft): void {
  if (before === undefined || after === undefined) return
  pairByName(before, after, draft)
  const groupsBefore = groupByUnnumberedName(before, draft.before)
  const groupsAfter = groupByUnnumberedName(after, draft.after)
  const unsure: [Block[], Block[]][] = []
  for (const [key, ofBefore] of groupsBefore) {
    const ofAfter = groupsAfter.get(key)
    if (ofAfter === undefined) continue
    const [onlyBefore] = ofBefore
    const [onlyAfter] = ofAfter
    if (ofBefore.length === 1 && ofAfter.length === 1 && onlyBefore && onlyAfter) unite(draft, onlyBefore, onlyAfter)
    else if (ofBefore[0]?.kind === 'code') pairClones(ofBefore, ofAfter, draft)
    else unsure.push([ofBefore, ofAfter])
  }
  if (unsure.length > 0) pairStaticLocals(unsure, before, after, draft)
}

/** What has a name of its own (one that others see, or one without numbers), by any of its names. */
function pairByName(before: LinkGraph, after: LinkGraph, draft: Draft): void {
  const named = namedBlocks(after)
  for (const [key, b] of namedBlocks(before)) {
    const a = named.get(key)
    if (a !== undefined && b !== undefined && !draft.before.has(b) && !draft.after.has(a)) unite(draft, b, a)
  }
}

/** By kind and name; undefined where an object has several of one name (objects that were linked together). Visible names come first. */
function namedBlocks(graph: LinkGraph): Map<string, Block | undefined> {
  const visible = new Map<string, Block | undefined>()
  const local = new Map<string, Block | undefined>()
  for (const block of graph.blocks) {
    if (!isOfInterest(block) || isAnonymous(block)) continue
    for (const symbol of block.symbols) {
      if (symbol.kind === 'section' || symbol.name === '') continue
      if (symbol.binding === 'local' && unnumbered(symbol.name) !== symbol.name) continue
      const names = symbol.binding === 'local' ? local : visible
      const key = `${classOf(block)}:${symbol.name}`
      names.set(key, names.has(key) && names.get(key) !== block ? undefined : block)
    }
  }
  return new Map([...local, ...visible])
}

function groupByUnnumberedName(graph: LinkGraph, paired: ReadonlyMap<Block, Block>): Map<string, Block[]> {
  const named = graph.blocks.filter((block) => isOfInterest(block) && !isAnonymous(block) && !paired.has(block))
  return groupBy(named, (block) => `${classOf(block)}:${unnumbered(nameOf(block))}`)
}

function groupBy(blocks: readonly Block[], keyOf: (block: Block) => string): Map<string, Block[]> {
  const groups = new Map<string, Block[]>()
  for (const block of blocks) {
    const key = keyOf(block)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [block])
    else group.push(block)
  }
  return groups
}

/** Clones: those made of the same first, then those of the same name, then the rest in order if as many are left on both sides. */
function pairClones(before: Block[], after: Block[], draft: Draft): void {
  const free = (blocks: Block[], taken: ReadonlyMap<Block, Block>) => blocks.filter((b) => !taken.has(b))
  const pairUnique = (keyOf: (block: Block) => string) => {
    const afterByKey = groupBy(free(after, draft.after), keyOf)
    for (const [key, [b, ...others]] of groupBy(free(before, draft.before), keyOf)) {
      const [a, ...more] = afterByKey.get(key) ?? []
      if (a !== undefined && b !== undefined && others.length === 0 && more.length === 0) unite(draft, b, a)
    }
  }
  pairUnique((block) => `${nameOf(block)} ${shape(block)}`)
  pairUnique(shape)
  pairUnique(nameOf)
  const restBefore = free(before, draft.before)
  const restAfter = free(after, draft.after)
  if (restBefore.length === 1 && restAfter.length === 1) unite(draft, restBefore[0] as Block, restAfter[0] as Block)
}

/** What a block is made of, with the numbers taken out of the names that it refers to and anonymous targets left out. */
export function shape(block: Block): string {
  const hash = createHash('sha256').update(block.content ?? `${block.size} zeros`)
  for (const edge of block.edges) {
    const anonymous = edge.target.block !== undefined && isAnonymous(edge.target.block)
    const target = anonymous ? '?' : `${unnumbered(targetName(edge.target.block, edge.target.name))}+${edge.target.offset + edge.addend}`
    hash.update(`\n${edge.offset} ${edge.kind} ${target}`)
  }
  return hash.digest('base64')
}

const targetName = (block: Block | undefined, name: string): string => (block === undefined ? name : nameOf(block))

/**
 * Static locals of one unnumbered name: by the functions (and tables) that use them. Tables may be among them themselves, so this
 * goes on until nothing more is learnt.
 */
function pairStaticLocals(unsure: [Block[], Block[]][], before: LinkGraph, after: LinkGraph, draft: Draft): void {
  const usersBefore = referrersIn(before.blocks)
  const usersAfter = referrersIn(after.blocks)
  for (let learnt = true; learnt; ) {
    learnt = false
    for (const [ofBefore, ofAfter] of unsure) {
      const freeBefore = ofBefore.filter((b) => !draft.before.has(b))
      const freeAfter = ofAfter.filter((a) => !draft.after.has(a))
      for (const b of freeBefore) {
        const users = new Set((usersBefore.get(b) ?? []).map((user) => draft.before.get(user)))
        const shared = (a: Block) => (usersAfter.get(a) ?? []).some((user) => users.has(user))
        const candidates = freeAfter.filter((a) => !draft.after.has(a) && shared(a))
        const [a] = candidates
        if (a === undefined || candidates.length > 1) continue
        const rivals = freeBefore.filter((other) => !draft.before.has(other) && sharesTwin(other, a, usersBefore, usersAfter, draft))
        if (rivals.length !== 1) continue
        unite(draft, b, a)
        learnt = true
      }
    }
  }
  // Several of one name in one function: the numbers tell only if nothing moved.
  for (const [ofBefore, ofAfter] of unsure) {
    const freeBefore = ofBefore.filter((b) => !draft.before.has(b))
    const freeAfter = ofAfter.filter((a) => !draft.after.has(a))
    const namesBefore = freeBefore.map(nameOf).sort().join()
    if (freeBefore.length > 0 && namesBefore === freeAfter.map(nameOf).sort().join()) pairUnmoved(freeBefore, freeAfter, draft)
    const restBefore = freeBefore.filter((b) => !draft.before.has(b))
    const restAfter = freeAfter.filter((a) => !draft.after.has(a))
    if (restBefore.length > 0 && restAfter.length > 0) for (const block of [...restBefore, ...restAfter]) draft.ambiguous.add(block)
  }
}

function sharesTwin(b: Block, a: Block, usersBefore: Map<Block, Block[]>, usersAfter: Map<Block, Block[]>, draft: Draft): boolean {
  const users = new Set((usersBefore.get(b) ?? []).map((user) => draft.before.get(user)))
  return (usersAfter.get(a) ?? []).some((user) => users.has(user))
}

/** The same set of names on both sides, each with its size, kind and initial value, used by code of the same names. */
function pairUnmoved(before: Block[], after: Block[], draft: Draft): void {
  const afterByName = new Map(after.map((a) => [nameOf(a), a]))
  const couples = before.map((b) => [b, afterByName.get(nameOf(b))] as const)
  const unmoved = couples.every(([b, a]) => a !== undefined && a.size === b.size && a.kind === b.kind && shape(a) === shape(b))
  if (!unmoved || afterByName.size !== before.length) return
  for (const [b, a] of couples) if (a !== undefined) unite(draft, b, a)
}

/** A function or variable that moved to another object, known to all by its name. */
function pairAcrossObjects(program: Program, draft: Draft): void {
  const lonelyGlobals = (side: 'before' | 'after') => {
    const found = new Map<string, Block[]>()
    for (const pair of program.pairs)
      for (const block of pair[side]?.blocks ?? []) {
        const symbol = primarySymbol(block)
        if (draft[side].has(block) || !isOfInterest(block) || isAnonymous(block) || symbol === undefined || symbol.binding === 'local')
          continue
        const key = `${classOf(block)}:${symbol.name}`
        const known = found.get(key)
        if (known === undefined) found.set(key, [block])
        else known.push(block)
      }
    return found
  }
  const after = lonelyGlobals('after')
  for (const [key, [b, ...others]] of lonelyGlobals('before')) {
    const [a, ...more] = after.get(key) ?? []
    if (a !== undefined && b !== undefined && others.length === 0 && more.length === 0) unite(draft, b, a)
  }
}

/** One visible name on both sides of an object and no pair: something is wrong with the names, and nothing may be concluded from them. */
function doubtUnpaired({ before, after }: ObjectPair, draft: Draft): void {
  if (before === undefined || after === undefined) return
  const unpaired = (graph: LinkGraph, paired: ReadonlyMap<Block, Block>) =>
    graph.symbols.filter(
      (s) => s.binding !== 'local' && s.block !== undefined && !paired.has(s.block) && isOfInterest(s.block) && !isAnonymous(s.block),
    )
  const names = new Map(unpaired(before, draft.before).map((s) => [s.name, s.block as Block]))
  for (const symbol of unpaired(after, draft.after)) {
    const other = names.get(symbol.name)
    if (other === undefined) continue
    draft.ambiguous.add(other)
    draft.ambiguous.add(symbol.block as Block)
  }
}
