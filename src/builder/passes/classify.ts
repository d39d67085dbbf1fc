/**
 * Classification: what differs between the two builds, item by item, with every reason that can be given without a base image.
 * Nothing is refused here; `verify` does that at the end, when all reasons are known.
 */
import type { Block, LinkGraph } from '../graph.ts'
import { isBookkeeping, isStartupSection, runsOnce } from '../names.ts'
import { entryOf, isAnonymous, isOfInterest, parentName, primarySymbol } from '../places.ts'
import { afterGraphs, mentioning, type Program, type Twins } from '../program.ts'
import { type Reason, type ReasonCode, reason } from '../reasons.ts'
import type { ItemChange, ItemKind } from '../report.ts'
import { type Comparison, sameBytes } from './compare.ts'
import type { LineNoise } from './line-noise.ts'

/** One difference. */
export interface Change {
  readonly kind: ItemKind
  readonly change: ItemChange
  readonly name: string
  readonly file: string
  readonly before: Located | undefined
  readonly after: Located | undefined
  /** Grows while the passes learn more. */
  readonly reasons: Reason[]
}

export interface Located {
  readonly graph: LinkGraph
  readonly block: Block
}

export interface Classified {
  readonly changes: readonly Change[]
  /** Blocks of the build after that are not as they were: changed and new code, changed and new named data. */
  readonly differing: ReadonlySet<Block>
}

export function classify(program: Program, twins: Twins, compare: Comparison, noise: LineNoise): Classified {
  const changes = [...codeAndData(program, twins, compare, noise), ...importsAdded(program)]
  const differing = new Set<Block>()
  for (const change of changes) if (change.after !== undefined && !NO_CHANGE_OF_CODE.has(change.kind)) differing.add(change.after.block)
  const lookups: Lookups = { program, twins, differing, users: once(() => usersIn(afterGraphs(program))), startup: startupBlocks() }
  for (const change of changes) for (const r of reasonsFor(change, lookups)) change.reasons.push(r)
  return { changes, differing }
}

/** Kinds of differences that leave what lies in the base image as good as it was. */
const NO_CHANGE_OF_CODE: ReadonlySet<ItemKind> = new Set(['import', 'unwind', 'line-numbers'])

interface Lookups {
  readonly program: Program
  readonly twins: Twins
  readonly differing: ReadonlySet<Block>
  readonly users: () => Users
  /** What the start of the program is listed to call, by the graph. */
  readonly startup: (graph: LinkGraph) => ReadonlySet<Block>
}

/** Who refers to what: to a block of the same object, or to a name of another. */
interface Users {
  of(block: Block): readonly Located[]
  ofName(name: string): readonly Located[]
}

function usersIn(graphs: readonly LinkGraph[]): Users {
  const byBlock = new Map<Block, Located[]>()
  const byName = new Map<string, Located[]>()
  const add = <K>(map: Map<K, Located[]>, key: K, user: Located): void => {
    const known = map.get(key)
    if (known === undefined) map.set(key, [user])
    else if (known.at(-1)?.block !== user.block) known.push(user)
  }
  for (const graph of graphs)
    for (const block of graph.blocks) {
      if (isBookkeeping(block.section)) continue
      for (const { target } of block.edges)
        if (target.block === undefined) add(byName, target.name, { graph, block })
        else add(byBlock, target.block, { graph, block })
    }
  return { of: (block) => byBlock.get(block) ?? [], ofName: (name) => byName.get(name) ?? [] }
}

function startupBlocks(): Lookups['startup'] {
  const known = new Map<LinkGraph, ReadonlySet<Block>>()
  return (graph) => {
    let listed = known.get(graph)
    if (listed === undefined) {
      const lists = graph.blocks.filter((b) => isStartupSection(b.section))
      listed = new Set(lists.flatMap((b) => b.edges.flatMap((e) => e.target.block ?? [])))
      known.set(graph, listed)
    }
    return listed
  }
}

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

function* codeAndData(program: Program, twins: Twins, compare: Comparison, noise: LineNoise): Generator<Change> {
  const homes = homesOf(program)
  const degree = (before: Block, after: Block): Degree => degreeOf(before, after, compare, noise)
  for (const { before, after } of program.pairs) {
    /** How much the cold parts of functions differ: the two are one function. */
    const parts = new Map<Block, Degree>()
    const addPart = (parent: Block, of: Degree) => parts.set(parent, worse(of, parts.get(parent) ?? 'same'))
    for (const block of after?.blocks ?? []) {
      const twin = twins.after.get(block)
      const parent = parentOf(block, after)
      if (parent !== undefined) addPart(parent, twin === undefined ? 'different' : degree(twin, block))
    }
    for (const block of before?.blocks ?? []) {
      const parent = parentOf(block, before)
      const twinOfParent = parent === undefined ? undefined : twins.before.get(parent)
      if (twinOfParent !== undefined && !twins.before.has(block)) addPart(twinOfParent, 'different')
    }
    for (const block of after?.blocks ?? []) {
      if (after === undefined || !isListed(block) || parentOf(block, after) !== undefined) continue
      const here = { graph: after, block }
      const twin = twins.after.get(block)
      if (twin === undefined) {
        yield changeOf('added', undefined, here)
        continue
      }
      const there = { graph: homes.get(twin) ?? after, block: twin }
      const whole = worse(degree(twin, block), parts.get(block) ?? 'same')
      if (whole === 'different') yield changeOf('changed', there, here)
      else if (whole === 'noise') yield { ...changeOf('changed', there, here), kind: 'line-numbers' }
      else if (block.kind === 'code' && !sameUnwind(twin, block, compare)) yield { ...changeOf('changed', there, here), kind: 'unwind' }
    }
    for (const block of before?.blocks ?? [])
      if (before !== undefined && isListed(block) && parentOf(block, before) === undefined && !twins.before.has(block))
        yield changeOf('removed', { graph: before, block }, undefined)
  }
}

/** How much two versions differ; noise: in nothing but line numbers that moved. */
type Degree = 'same' | 'noise' | 'different'
const DEGREES: readonly Degree[] = ['same', 'noise', 'different']
const worse = (a: Degree, b: Degree): Degree => (DEGREES.indexOf(a) > DEGREES.indexOf(b) ? a : b)

const isListed = (block: Block): boolean => isOfInterest(block) && !isAnonymous(block)

function parentOf(block: Block, graph: LinkGraph | undefined): Block | undefined {
  const name = parentName(block)
  return name === undefined ? undefined : graph?.symbols.find((s) => s.name === name && s.block?.kind === 'code')?.block
}

function homesOf(program: Program): Map<Block, LinkGraph> {
  const homes = new Map<Block, LinkGraph>()
  for (const { before } of program.pairs) for (const block of before?.blocks ?? []) if (before !== undefined) homes.set(block, before)
  return homes
}

function changeOf(change: ItemChange, before: Located | undefined, after: Located | undefined): Change {
  const { block, graph } = (after ?? before) as Located
  return { kind: itemKind(block), change, name: nameOf(block), file: graph.path, before, after, reasons: [] }
}

const nameOf = (block: Block): string => primarySymbol(block)?.name ?? block.name

function itemKind(block: Block): ItemKind {
  if (isStartupSection(block.section)) return 'section'
  switch (block.kind) {
    case 'code':
      return 'function'
    case 'tls':
      return 'thread-local'
    case 'rodata':
      return 'rodata'
    default:
      return 'data'
  }
}

function degreeOf(before: Block, after: Block, compare: Comparison, noise: LineNoise): Degree {
  if (before.kind === 'code') {
    if (entryOf(before) !== entryOf(after) || !sameTables(before, after, compare)) return 'different'
    return compare.same(before, after) ? 'same' : noise.isAll(before, after) ? 'noise' : 'different'
  }
  const settled = (before.kind === 'rodata') === (after.kind === 'rodata')
  return settled && before.alignment === after.alignment && compare.same(before, after) ? 'same' : 'different'
}

/** The exception tables that the unwind records lead to: what a catch clause catches is what the function does. */
function sameTables(before: Block, after: Block, compare: Comparison): boolean {
  const tables = (block: Block) => block.companions.flatMap((c) => c.edges.filter((e) => isTable(e.target.block)))
  const ofBefore = tables(before)
  const ofAfter = tables(after)
  return (
    ofBefore.length === ofAfter.length &&
    ofBefore.every((edge, i) => {
      const other = ofAfter[i]
      return other !== undefined && compare.sameTarget(edge, other)
    })
  )
}

const isTable = (block: Block | undefined): boolean => block !== undefined && block.kind === 'rodata' && isAnonymous(block)

function sameUnwind(before: Block, after: Block, compare: Comparison): boolean {
  if (before.companions.length !== after.companions.length) return false
  return before.companions.every((b, i) => {
    const a = after.companions[i]
    return a !== undefined && b.size === a.size && compare.sameUnwind(b, a)
  })
}

/** Names that the build after takes from elsewhere, which no object of either build defines or took before. */
function* importsAdded(program: Program): Generator<Change> {
  const known = new Set<string>()
  for (const { before, after } of program.pairs) {
    for (const symbol of before?.symbols ?? []) if (symbol.binding !== 'local' || symbol.block === undefined) known.add(symbol.name)
    for (const symbol of after?.symbols ?? []) if (symbol.binding !== 'local' && symbol.block !== undefined) known.add(symbol.name)
  }
  const candidates = new Map<string, LinkGraph>()
  for (const { after } of program.pairs) {
    const used = new Set(after?.blocks.flatMap((b) => (b.kind === 'unwind' ? [] : b.edges.map((e) => e.target))))
    for (const symbol of after?.symbols ?? [])
      if (after !== undefined && symbol.block === undefined && symbol.absolute === undefined && used.has(symbol) && !known.has(symbol.name))
        if (!candidates.has(symbol.name)) candidates.set(symbol.name, after)
  }
  // Only now is it worth looking into the objects that did not change.
  if (candidates.size > 0)
    for (const lazy of program.identical) {
      if (!lazy.mentions([...candidates.keys()])) continue
      for (const symbol of lazy.graph().symbols)
        if (symbol.binding !== 'local' || symbol.block === undefined) candidates.delete(symbol.name)
      if (candidates.size === 0) return
    }
  for (const [name, graph] of candidates) {
    // The linker makes `__imp_f` for whatever defines f.
    if (name.startsWith('__imp_') && known.has(name.slice('__imp_'.length))) continue
    yield { kind: 'import', change: 'added', name, file: graph.path, before: undefined, after: undefined, reasons: [] }
  }
}

type Rule = (change: Change, lookups: Lookups) => Reason | undefined

const because = (change: Change, code: ReasonCode, detail: string): Reason => reason(code, change.name, change.file, detail)

/** Each rule sees every change and may have something to say about it. */
const RULES: readonly Rule[] = [
  (c) =>
    c.before !== undefined && c.after !== undefined && c.before.graph.machine !== c.after.graph.machine
      ? because(c, 'MACHINE_MISMATCH', `${c.before.graph.machine} before, ${c.after.graph.machine} after`)
      : undefined,
  threadLocalRule,
  (c) =>
    c.kind === 'section' ? because(c, 'STARTUP_CHANGED', `an entry of ${(c.after ?? c.before)?.block.section} was ${c.change}`) : undefined,
  (c) => (c.kind === 'import' ? because(c, 'IMPORT_ADDED', `no object of the build before uses or defines ${c.name}`) : undefined),
  (c) => (c.kind === 'line-numbers' ? because(c, 'LINES_ONLY', `nothing of ${c.name} differs but line numbers that moved`) : undefined),
  (c) => (c.kind === 'unwind' ? because(c, 'UNWIND_ONLY', `the unwind records of ${c.name} differ`) : undefined),
  dataRule,
  rodataRule,
  functionRule,
  startupRule,
  removalRule,
  (c, { twins }) => {
    const either = c.after?.block ?? c.before?.block
    return either !== undefined && twins.ambiguous.has(either)
      ? because(
          c,
          'SYMBOL_AMBIGUOUS',
          `what it was in the other build cannot be told: several things have its name, up to the compiler's numbers`,
        )
      : undefined
  },
]

function* reasonsFor(change: Change, lookups: Lookups): Generator<Reason> {
  for (const rule of RULES) {
    const found = rule(change, lookups)
    if (found !== undefined) yield found
  }
}

/** A new one travels where it is used: see resolve.ts. */
function threadLocalRule(c: Change): Reason | undefined {
  if (c.kind !== 'thread-local' || c.change !== 'changed') return undefined
  return because(c, 'TLS_CHANGED', `thread-local ${c.name} was ${c.change}`)
}

function dataRule(c: Change): Reason | undefined {
  if (c.kind !== 'data' && !(c.kind === 'rodata' && c.before?.block.kind !== 'rodata')) return undefined
  if (c.change !== 'changed' || c.before === undefined || c.after === undefined) return undefined
  const before = c.before.block
  const after = c.after.block
  if (before.size !== after.size) return because(c, 'DATA_LAYOUT', `${before.size} bytes before, ${after.size} after`)
  if ((before.kind === 'rodata') !== (after.kind === 'rodata'))
    return because(c, 'DATA_LAYOUT', after.kind === 'rodata' ? 'writable before, read-only after' : 'read-only before, writable after')
  if (after.alignment > before.alignment)
    return because(c, 'DATA_LAYOUT', `aligned to ${before.alignment} bytes before, to ${after.alignment} after`)
  return sameContents(before, after) ? undefined : because(c, 'DATA_CHANGED', whereDiffers(before, after))
}

/** Where only the alignment became smaller, the running variable serves. */
const sameContents = (before: Block, after: Block): boolean =>
  sameBytes(before.content ?? new Uint8Array(before.size), after.content ?? new Uint8Array(after.size)) &&
  before.edges.length === after.edges.length &&
  before.alignment > after.alignment

function whereDiffers(before: Block, after: Block): string {
  const b = before.content ?? new Uint8Array(before.size)
  const a = after.content ?? new Uint8Array(after.size)
  const at = a.findIndex((x, i) => x !== b[i])
  return at < 0 ? 'a pointer in it leads elsewhere' : `its bytes differ from offset ${at} on`
}

function rodataRule(c: Change, lookups: Lookups): Reason | undefined {
  if (c.kind !== 'rodata' || c.change !== 'changed' || c.before?.block.kind !== 'rodata' || c.after === undefined) return undefined
  const user = unchangedUser(c.after, lookups)
  return user === undefined ? undefined : because(c, 'RODATA_CHANGED', `${user} goes on using the old one`)
}

/** Someone outside the patch who uses a read-only block: its name. */
function unchangedUser(of: Located, { program, differing, users }: Lookups): string | undefined {
  const seen = new Set<Block>()
  const search = (target: Block): string | undefined => {
    if (seen.has(target)) return undefined
    seen.add(target)
    const names = [...new Set(target.symbols.filter((s) => s.binding !== 'local').map((s) => s.name))]
    for (const { block, graph } of [...users().of(target), ...names.flatMap((name) => users().ofName(name))]) {
      if (block === target) continue
      const found = outside(block, graph)
      if (found !== undefined) return found
    }
    for (const graph of mentioning(program, names))
      if (graph.symbols.some((s) => s.block === undefined && names.includes(s.name))) return graph.path
    return undefined
  }
  /** The user's name, where it is not in the patch; of what has no name, its user's. */
  const outside = (block: Block, graph: LinkGraph): string | undefined => {
    if (block.kind === 'code') {
      const unit = parentOf(block, graph) ?? block
      return differing.has(block) || differing.has(unit) ? undefined : nameOf(block)
    }
    if (block.kind === 'unwind') return ownerOutside(block, graph, differing)
    return isAnonymous(block) || (block.kind === 'rodata' && differing.has(block)) ? search(block) : nameOf(block)
  }
  return search(of.block)
}

function ownerOutside(unwind: Block, graph: LinkGraph, differing: ReadonlySet<Block>): string | undefined {
  const owner = graph.blocks.find((b) => b.companions.includes(unwind))
  return owner === undefined || differing.has(owner) ? undefined : nameOf(owner)
}

function functionRule(c: Change): Reason | undefined {
  if (c.kind !== 'function' || c.change !== 'changed' || c.after === undefined || c.before === undefined) return undefined
  if (c.after.block.symbols.some((s) => s.kind === 'ifunc'))
    return because(c, 'IFUNC', `${c.name} chooses an implementation when the program is loaded`)
  if (c.after.block.group !== undefined || c.before.block.group !== undefined)
    return because(c, 'SECTION_SHARED', `${c.name} lies in ${c.after.block.section} with others`)
  const entry = entryOf(c.before.block)
  const other = c.before.block.symbols.find((s) => s.kind === 'function' && s.offset !== entry)
  if (other !== undefined) return because(c, 'REDIRECT_UNSAFE', `it is entered at ${other.name}, too`)
  return undefined
}

function startupRule(c: Change, { startup }: Lookups): Reason | undefined {
  if (c.kind !== 'function' || c.change !== 'changed' || c.after === undefined) return undefined
  const { block, graph } = c.after
  return startup(graph).has(block) || runsOnce(c.name) ? because(c, 'RUNS_ONCE', `${c.name} runs when the program starts`) : undefined
}

/** Something visible was removed that other objects go on using, and nothing took its place. */
function removalRule(c: Change, { program }: Lookups): Reason | undefined {
  const symbol = c.change === 'removed' && c.before !== undefined ? primarySymbol(c.before.block) : undefined
  if (symbol === undefined || symbol.binding === 'local') return undefined
  const after = [...afterGraphs(program), ...mentioning(program, [symbol.name])]
  if (after.some((graph) => graph.symbols.some((s) => s.name === symbol.name && s.block !== undefined && s.binding !== 'local')))
    return undefined
  const user = after.find((graph) => graph.symbols.some((s) => s.name === symbol.name && s.block === undefined && s.binding !== 'weak'))
  return user === undefined ? undefined : because(c, 'REMOVED_REFERENCED', `${user.path} refers to it`)
}
