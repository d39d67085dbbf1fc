/**
 * Resolution: from the changed functions along their references to everything that must come along, and for each reference where it
 * leads.
 *
 * - What is new, and constants without a name, travel. What was there before stays in the base image: its functions, its variables with
 *   their present values, its named constants.
 * - A call of a changed function goes to the new one. Its address, taken as a value, is that of the old one in the base image: pointers
 *   that the process compares or keeps stay what they were, also after the patch is undone.
 */

import { architectureOf } from '../../machine/architectures.ts'
import { EDGE_KINDS, isBranchKind } from '../../machine/edges.ts'
import type { BaseSymbol, ImportSlot } from '../base-image.ts'
import type { Block, Edge, LinkGraph } from '../graph.ts'
import type { Libraries, NewImport } from '../libraries.ts'
import { isPointerName } from '../names.ts'
import { aimsAtEntry, entryOf, isAnonymous, isThreadLocal, parentName, primarySymbol } from '../places.ts'
import { afterGraphs, beforeGraphs, type Definition, definitionsIn, mentioning, ownersOf, type Program, type Twins } from '../program.ts'
import { type Reason, type ReasonCode, reason } from '../reasons.ts'
import type { Choice, ChosenFunction } from './choose.ts'
import type { Classified } from './classify.ts'
import { isCopy } from './copies.ts'
import type { Locator } from './locate.ts'
import { type Neighbours, NO_NEIGHBOURS } from './neighbours.ts'
import { sectionAt } from './prove.ts'
import { type Reach, reachOf, type Variable } from './thread-local.ts'

/** Where the symbol of an edge lies; the addend comes on top. */
export type Target =
  | { readonly to: 'patch'; readonly block: Block; readonly offset: number }
  /** `slot`: the place is one that holds the address of an import. */
  | { readonly to: 'base'; readonly rva: number; readonly slot?: ImportSlot }
  /** A function or variable of another module, reached through slots of the base image. */
  | { readonly to: 'import'; readonly name: string; readonly slots: readonly ImportSlot[] }
  /** The same where the base image has no slot for it. `isSlot`: the place is the slot itself (COFF's `__imp_f`). */
  | { readonly to: 'new-import'; readonly import: NewImport; readonly isSlot: boolean }
  | { readonly to: 'constant'; readonly value: bigint }
  | { readonly to: 'thread-local'; readonly reach: Reach }
  /** The call of `__tls_get_addr` in a sequence that does without. */
  | { readonly to: 'no-call' }

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

interface Context {
  readonly program: Program
  readonly twins: Twins
  readonly classified: Classified
  readonly locator: Locator
  readonly libraries: Libraries
  readonly neighbours: Neighbours
  /** Changed functions by their block of the build after. */
  readonly chosen: ReadonlyMap<Block, ChosenFunction>
  readonly graphOf: Map<Block, LinkGraph>
  readonly graphBefore: Map<Block, LinkGraph>
  readonly visibleAfter: ReadonlyMap<string, Definition[]>
  /** What an object that did not change defines under a name. */
  visibleIdentical(name: string): Definition | undefined
}

type Outcome = Target | { readonly to: 'nowhere'; readonly code: ReasonCode; readonly detail: string }

const nowhere = (code: ReasonCode, detail: string): Outcome => ({ to: 'nowhere', code, detail })

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
      if (outcome.to === 'patch' && outcome.block.kind === 'tls' && outcome.block.edges.length > 0) {
        reasons.push(reason('TLS_CHANGED', outcome.block.name, fileOf(outcome.block, context), 'its initial value has an address in it'))
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

/** Whether a reference is the call of a sequence that is rewritten into one without. Edges are met in ascending order. */
function isCallLeftOut(edge: Edge, user: Block, targets: ReadonlyMap<Edge, Target>, { locator }: Context): boolean {
  if (edge.target.name !== '__tls_get_addr') return false
  const { threadLocal } = architectureOf(locator.base.machine).linking
  const access = user.edges.find((e) => {
    const call = threadLocal.callOf(e.kind, user.content, e.offset)
    return call !== undefined && e.offset + call === edge.offset
  })
  const target = access === undefined ? undefined : targets.get(access)
  if (target?.to === 'patch') return true
  return target?.to === 'thread-local' && (target.reach.by === 'distance' || target.reach.by === 'distance-slot')
}

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

const isOneOfMany = (block: Block, binding: 'local' | 'global' | 'weak'): boolean =>
  binding !== 'local' && (block.comdat !== undefined || binding === 'weak') && !isAnonymous(block)

/** What a changed object defines under a name: of several copies the one that is patched, else that of an object in the base image. */
function definitionOf(
  name: string,
  { visibleAfter, chosen, locator, twins, graphBefore, program }: Context,
): Definition | 'ambiguous' | undefined {
  const found = visibleAfter.get(name) ?? []
  const patched = found.find((d) => chosen.has(d.block))
  if (patched !== undefined || found.length <= 1) return patched ?? found[0]
  const known = found.find((d) => {
    const twin = twins.after.get(d.block)
    const graph = twin === undefined ? undefined : graphBefore.get(twin)
    return twin !== undefined && graph !== undefined && locator.findAnyCopy(graph, twin).found
  })
  if (known !== undefined) return known
  const ofBase = found.filter((d) => {
    const before = program.pairs.find((p) => p.after === d.graph)?.before
    return before === undefined || locator.agreement(before).different === 0
  })
  const strong = ofBase.filter((d) => d.symbol.binding !== 'weak' && d.block.comdat === undefined)
  const [first, ...others] = strong
  if (first === undefined) return ofBase[0] ?? found[0]
  if (!others.every((other) => isCopy(first.block, other.block, twins))) return 'ambiguous'
  const patchedObjects = new Set([...chosen.values()].map(({ graphAfter }) => graphAfter))
  return strong.find((d) => patchedObjects.has(d.graph)) ?? first
}

function targetOfBlock(edge: Edge, user: Block, block: Block, offset: number, context: Context): Outcome {
  const elsewhere = inAnotherImage(edge, user, block, context)
  if (elsewhere !== undefined) return elsewhere
  const inPatch: Outcome = { to: 'patch', block, offset }
  switch (block.kind) {
    case 'tls':
      return tls(edge.target.name)
    case 'unwind':
      return inPatch
    case 'code':
      return targetOfCode(edge, user, block, offset, context)
    case 'rodata':
      if (isAnonymous(block) || context.classified.differing.has(block)) return inPatch
      return inBase(edge, block, offset, context, () => inPatch)
    default:
      if (isPointerName(edge.target.name)) return basesOwnPointer(edge.target.name, context) ?? inPatch
      if (isAnonymous(block) || !context.twins.after.has(block)) return context.twins.ambiguous.has(block) ? ambiguousData(block) : inPatch
      return inBase(edge, block, offset, context, () => inPatch)
  }
}

/** ELF's `DW.ref.f` holds the address of f wherever it comes from: the loader has filled in the base image's already. */
function basesOwnPointer(name: string, { locator }: Context): Outcome | undefined {
  if (locator.base.format !== 'elf') return undefined
  const [symbol, ...others] = locator.visible(name)
  return symbol !== undefined && others.length === 0 ? { to: 'base', rva: symbol.rva } : undefined
}

const ambiguousData = (block: Block): Outcome =>
  nowhere('SYMBOL_AMBIGUOUS', `which variable of the build before ${primarySymbol(block)?.name ?? block.name} is cannot be told`)

/** The function that a block is or is the cold part of. */
function unitOf(block: Block, { graphOf }: Context): Block {
  const parent = parentName(block)
  if (parent === undefined) return block
  return graphOf.get(block)?.symbols.find((s) => s.name === parent && s.block?.kind === 'code')?.block ?? block
}

function targetOfCode(edge: Edge, user: Block, block: Block, offset: number, context: Context): Outcome {
  if (edge.target.kind === 'ifunc' || block.symbols.some((s) => s.kind === 'ifunc')) return targetOfIfunc(edge, context)
  const inPatch: Outcome = { to: 'patch', block, offset }
  const unit = unitOf(block, context)
  const twin = context.twins.after.get(unit)
  if (twin === undefined) return inPatch
  const function_ = context.chosen.get(unit)
  if (function_ === undefined) {
    if (block !== unit && context.twins.after.get(block) === undefined) return inPatch
    // A changed function that the base image does not hold comes along as a new one; so does one that the linker dropped.
    return context.classified.differing.has(unit)
      ? changedElsewhere(edge, unit, offset, context, inPatch)
      : inBase(edge, block, offset, context, () => inPatch)
  }
  if (block !== unit || unitOf(user, context) === unit) {
    // Inside one function. Its own address as a value is still the old one's.
    return !isBranchKind(edge.kind) &&
      user.kind === 'code' &&
      block === unit &&
      aimsAtEntry({ ...edge, target: { ...edge.target, offset } }, block)
      ? { to: 'base', rva: function_.rva - entryOf(block) + offset }
      : inPatch
  }
  if (user.kind === 'unwind') return inPatch
  const atEntry = aimsAtEntry({ ...edge, target: { ...edge.target, offset } }, block)
  if (isBranchKind(edge.kind)) return preemptible(edge, context) ?? inPatch
  if (user.kind === 'rodata' && isAnonymous(user) && !isPointerName(primarySymbol(user)?.name ?? '')) {
    // A jump table; 64-bit entries that lead to the entry are pointers.
    return edge.kind === 'abs64' && atEntry ? { to: 'base', rva: function_.rva - entryOf(block) + offset } : inPatch
  }
  if (atEntry) return preemptible(edge, context) ?? { to: 'base', rva: function_.rva - entryOf(block) + offset }
  return inPatch
}

/**
 * A tree of objects makes several modules. What the base image does not hold and imports is another module's: a copy of it in the patch would have
 * variables of its own.
 */
const ofAnotherModule = (edge: Edge, { locator }: Context): Target | undefined =>
  edge.target.binding === 'local' || edge.target.hidden ? undefined : importSlots(edge.target.name, locator)

/** What an object defines that went into another base image of the update alone. Constants without a name travel from wherever they are. */
function inAnotherImage(edge: Edge, user: Block, block: Block, context: Context): Outcome | undefined {
  const graph = context.graphOf.get(block)
  if (graph === undefined || graph === context.graphOf.get(user) || isOneOfMany(block, edge.target.binding)) return undefined
  const before = context.program.pairs.find(({ after }) => after === graph)?.before
  const holder = before === undefined ? undefined : context.neighbours.holderOf(before)
  if (holder === undefined) return undefined
  const { name } = edge.target
  const found = ofAnotherModule(edge, context) ?? newImport(name, context)
  if (found !== undefined) return found
  return context.twins.after.has(block)
    ? nowhere(
        'IMPORT_NEW',
        `it uses ${name} of ${holder.name}, which ${context.locator.base.name} does not import; ${context.libraries.searched}`,
      )
    : nowhere('NEW_IN_ANOTHER_IMAGE', `it uses ${name}, which is new in ${graph.path} of ${holder.name}`)
}

/** A function that changed but is not patched: it may be in the base image as another object's copy, or not at all. */
function changedElsewhere(edge: Edge, unit: Block, offset: number, context: Context, inPatch: Outcome): Outcome {
  const name = primarySymbol(unit)
  if (name !== undefined && name.binding !== 'local') {
    const copy = [...context.chosen.values()].find((f) => f.change.name === name.name)
    if (copy !== undefined) return isBranchKind(edge.kind) ? { to: 'patch', block: copy.after, offset } : { to: 'base', rva: copy.rva }
  }
  return ofAnotherModule(edge, context) ?? inPatch
}

/** An indirect function: through a slot in which the base image has what it has chosen. */
function targetOfIfunc(edge: Edge, context: Context): Outcome {
  const { name } = edge.target
  const { base } = context.locator
  const named = context.locator.slots(name)
  const resolver = named.length > 0 ? undefined : resolverOf(edge, context)
  const slots = resolver === undefined ? named : base.importSlots.filter((slot) => slot.resolver === resolver)
  if (slots.length > 0) return { to: 'import', name, slots }
  return nowhere(
    'IFUNC',
    `it uses ${name}, which chooses its implementation when the program is loaded, and ${base.name} has no slot for it`,
  )
}

/** Where the base image has the resolver, in RVAs. */
function resolverOf({ target }: Edge, { locator, twins, graphBefore, visibleAfter, visibleIdentical }: Context): number | undefined {
  const [own] = visibleAfter.get(target.name) ?? []
  const block = target.block ?? own?.block
  const twin = block === undefined ? undefined : twins.after.get(block)
  const graph = twin === undefined ? undefined : graphBefore.get(twin)
  if (block !== undefined) {
    const finding = twin === undefined || graph === undefined ? undefined : locator.findAnyCopy(graph, twin)
    return finding?.found === true ? finding.rva + (target.block === undefined ? (own?.symbol.offset ?? 0) : target.offset) : undefined
  }
  const places = new Set(locator.visible(target.name).flatMap(({ kind, rva }) => (kind === 'ifunc' ? [rva] : [])))
  const [place, ...others] = places
  if (place !== undefined) return others.length === 0 ? place : undefined
  const elsewhere = visibleIdentical(target.name)
  const finding = elsewhere === undefined ? undefined : locator.findAnyCopy(elsewhere.graph, elsewhere.block)
  return elsewhere !== undefined && finding?.found === true ? finding.rva + elsewhere.symbol.offset : undefined
}

/** The twin's place in the base image, where the symbol of the edge has the same offset as before. */
function inBase(edge: Edge, block: Block, offset: number, context: Context, otherwise: () => Outcome): Outcome {
  const through = preemptible(edge, context)
  if (through !== undefined) return through
  const twin = context.twins.after.get(block)
  const graph = twin === undefined ? undefined : context.graphBefore.get(twin)
  if (twin === undefined || graph === undefined) return otherwise()
  const finding = context.locator.findAnyCopy(graph, twin)
  if (finding.found) return { to: 'base', rva: finding.rva + offset }
  if (finding.code === 'NOT_IN_BASE') return ofAnotherModule(edge, context) ?? otherwise()
  return nowhere(finding.code, `it refers to ${edge.target.name || block.name}: ${finding.detail}`)
}

/** Where the base image itself reaches its own symbol through a slot, another module may have taken the symbol's place. */
function preemptible(edge: Edge, { locator }: Context): Target | undefined {
  if (edge.target.binding === 'local' || edge.target.hidden || (!isBranchKind(edge.kind) && EDGE_KINDS[edge.kind].role !== 'got'))
    return undefined
  const slots = locator.slots(edge.target.name)
  const exported = locator.visible(edge.target.name).some((s) => s.exported)
  if (slots.length === 0 || !exported) return undefined
  return isBranchKind(edge.kind) || slots.some((s) => s.binding === 'eager') ? { to: 'import', name: edge.target.name, slots } : undefined
}

/** Symbols that no changed object defines. */
function targetOfName(edge: Edge, context: Context): Outcome {
  const { target } = edge
  const { locator } = context
  const through = preemptible(edge, context)
  if (through !== undefined) return through
  if (locator.base.format === 'pe' && target.name.startsWith('__imp_')) {
    const slot = importSlots(target.name, locator)
    if (slot !== undefined) return slot
  }
  const visible = locator.visible(target.name)
  const [symbol] = visible
  if (symbol !== undefined && new Set(visible.map((s) => s.rva)).size === 1 && symbol.binding !== 'local')
    return symbol.kind === 'ifunc'
      ? targetOfIfunc(edge, context)
      : symbol.kind === 'tls'
        ? tls(target.name)
        : { to: 'base', rva: symbol.rva }
  const slots = importSlots(target.name, locator)
  if (slots !== undefined) return slots
  // Of a static program that may lie anywhere the linker has made the C library's own local.
  const isHidden = symbol?.kind === 'ifunc' && visible.length === 1
  if (isHidden && locator.resolversSeen(target.name, beforeGraphs(context.program)).includes(symbol.rva))
    return targetOfIfunc(edge, context)
  // No symbol table tells: where the old functions find it, there it is.
  if (!locator.base.lacks(target.name, false)) {
    const [seen, ...others] = locator.seenAs(target.name, beforeGraphs(context.program), isBranchKind(edge.kind))
    if (seen !== undefined && others.length === 0) return { to: 'base', rva: seen }
  }
  // Hidden from other modules, the linker has made it local: the object that defines it says which one it is.
  const definition = context.visibleIdentical(target.name)
  if (definition !== undefined) {
    if (definition.symbol.kind === 'tls') return tls(target.name)
    if (definition.symbol.kind === 'ifunc') return targetOfIfunc(edge, context)
    const finding = locator.findAnyCopy(definition.graph, definition.block)
    if (finding.found) return { to: 'base', rva: finding.rva + definition.symbol.offset }
    return nowhere(
      finding.code === 'NOT_IN_BASE' ? 'SYMBOL_MISSING' : finding.code,
      `it refers to ${target.name} of ${definition.graph.path}: ${finding.detail}`,
    )
  }
  if ((isLinkersOwn(target.name) || isOutlineAtomic(target.name)) && symbol !== undefined && visible.length === 1)
    return { to: 'base', rva: symbol.rva }
  const found = newImport(target.name, context)
  if (found !== undefined) return found
  if (target.binding === 'weak' && (edge.kind === 'abs64' || EDGE_KINDS[edge.kind].role === 'got')) return { to: 'constant', value: 0n }
  const { searched } = context.libraries
  return nowhere('IMPORT_NEW', `it uses ${target.name}, which ${locator.base.name} neither defines nor imports; ${searched}`)
}

function newImport(name: string, { locator, libraries }: Context): Target | undefined {
  const isSlot = locator.base.format === 'pe' && name.startsWith('__imp_')
  const found = libraries.find(isSlot ? name.slice('__imp_'.length) : name)
  return found === undefined ? undefined : { to: 'new-import', import: found, isSlot }
}

const tls = (name: string, why = ''): Outcome => nowhere('TLS_UNSUPPORTED', `it uses the thread-local ${name}${why}`)

function targetOfThreadLocal(edge: Edge, user: Block, context: Context): Outcome {
  const { base } = context.locator
  const { name } = edge.target
  // By descriptors the start of the block is a symbol of its own.
  const access = name === MODULE_BASE ? 'local-dynamic' : EDGE_KINDS[edge.kind].access
  const fresh = newThreadLocal(edge, context)
  // What the code has offsets from becomes the thread pointer, where none of them is in the block of a library.
  const isBlockKnown = base.threadLocal?.fromThreadPointer !== undefined || countsToNewAlone(user, context)
  if (base.format === 'elf' && access === 'local-dynamic' && isBlockKnown)
    return { to: 'thread-local', reach: { by: 'distance', distance: 0 } }
  if (fresh !== undefined) {
    if (access === undefined) return tls(name, `, which is new, as ${edge.kind}`)
    if (access === 'local-dynamic' || (access === 'block-offset' && !isBlockKnown))
      return tls(name, `, which is new, by its distance from variables of ${base.name}: give it __attribute__((tls_model("initial-exec")))`)
    return fresh
  }
  const variable = threadLocalOf(edge, context)
  if ('to' in variable) return variable
  const reach = reachOf(edge, variable, base)
  return reach === undefined ? tls(name, `, and nothing in ${base.name} leads to it`) : { to: 'thread-local', reach }
}

/** A variable of the build after alone: it travels, and the engine gives it room in every thread. Of PE that cannot be done. */
function newThreadLocal({ target }: Edge, context: Context): (Target & { to: 'patch' }) | undefined {
  if (context.locator.base.format !== 'elf') return undefined
  const definition = target.block === undefined ? definitionOf(target.name, context) : { block: target.block, symbol: target }
  if (definition === undefined || definition === 'ambiguous') return undefined
  const { block, symbol } = definition
  const isNew = block.kind === 'tls' && !context.twins.after.has(block) && !context.twins.ambiguous.has(block)
  return isNew ? { to: 'patch', block, offset: symbol.offset } : undefined
}

/** Whether all offsets in a thread-local block that a function has, its split-off parts included, are those of new variables. */
function countsToNewAlone(user: Block, context: Context): boolean {
  const unit = unitOf(user, context)
  const parts = context.graphOf.get(user)?.blocks.filter((block) => block.kind === 'code' && unitOf(block, context) === unit) ?? [user]
  const offsets = parts.flatMap(({ edges }) => edges.filter(({ kind }) => EDGE_KINDS[kind].access === 'block-offset'))
  return offsets.length > 0 && offsets.every((edge) => newThreadLocal(edge, context) !== undefined)
}

/** Of the linker, for the start of the module's block. */
const MODULE_BASE = '_TLS_MODULE_BASE_'

function threadLocalOf(edge: Edge, context: Context): Variable | Outcome {
  const { target } = edge
  const { locator } = context
  const origin = locator.base.threadLocal?.rva ?? 0
  // What the offsets of local dynamic by descriptor count from; in a program they become distances from the thread pointer.
  if (target.name === MODULE_BASE)
    return { name: target.name, offset: -(locator.base.threadLocal?.fromThreadPointer ?? 0), preemptible: false }
  const isElf = locator.base.format === 'elf'
  // Only ELF's symbols say that they are thread-local, and only they can be replaced.
  const isItsKind = (s: BaseSymbol): boolean => (isElf ? s.kind === 'tls' : sectionAt(locator.base, s.rva)?.kind === 'tls')
  const visible = locator.visible(target.name).filter(isItsKind)
  const preemptible = isElf && target.binding !== 'local' && !target.hidden && (visible.length === 0 || visible.some((s) => s.exported))
  const at = (rva: number): Variable => ({ name: target.name, offset: rva - origin, preemptible })
  const definition = target.block === undefined ? definitionOf(target.name, context) : undefined
  if (definition === 'ambiguous') return nowhere('SYMBOL_AMBIGUOUS', `${target.name} is defined by several changed objects`)
  const block = target.block ?? definition?.block
  if (block !== undefined) {
    const twin = context.twins.after.get(block)
    const graph = twin === undefined ? undefined : context.graphBefore.get(twin)
    if (twin === undefined || graph === undefined) return tls(target.name, ', which is new')
    const finding = locator.findAnyCopy(graph, twin)
    if (finding.found) return at(finding.rva + (definition?.symbol.offset ?? target.offset))
    return nowhere(finding.code === 'NOT_IN_BASE' ? 'SYMBOL_MISSING' : finding.code, `it refers to ${target.name}: ${finding.detail}`)
  }
  const [symbol, ...others] = visible
  if (symbol !== undefined && others.length === 0 && symbol.binding !== 'local') return at(symbol.rva)
  const seen = locator.base.lacks(target.name, false) ? [] : locator.seenAs(target.name, beforeGraphs(context.program), false)
  if (seen[0] !== undefined && seen.length === 1) return at(seen[0])
  const elsewhere = context.visibleIdentical(target.name)
  const finding = elsewhere === undefined ? undefined : locator.findAnyCopy(elsewhere.graph, elsewhere.block)
  if (elsewhere !== undefined && finding?.found === true) return at(finding.rva + elsewhere.symbol.offset)
  return { name: target.name, offset: undefined, preemptible: isElf }
}

/** Made by the linker or the start files, local in the image. */
const isLinkersOwn = (name: string): boolean =>
  /^(__dso_handle|_GLOBAL_OFFSET_TABLE_|__ehdr_start|__executable_start|_DYNAMIC|__ImageBase|__image_base__|_end|_edata|_etext|end|edata|etext|__bss_start)$/.test(
    name,
  )

/**
 * What ARM64 compilers call for atomic operations unless told -mno-outline-atomics (libgcc's lse.S, compiler-rt's lse.S): hidden members of their
 * library, of which no build has an object, and which the linker makes local.
 */
const isOutlineAtomic = (name: string): boolean =>
  /^__aarch64_(cas|swp|ldadd|ldclr|ldeor|ldset)(1|2|4|8|16)_(relax|acq|rel|acq_rel|sync)$/.test(name)

/** Slots of the base image for a name. COFF's `__imp_f` is the slot of f itself. */
function importSlots(name: string, locator: Locator): Target | undefined {
  if (locator.base.format === 'pe' && name.startsWith('__imp_')) {
    const [slot] = locator.slots(name.slice('__imp_'.length))
    return slot === undefined ? undefined : { to: 'base', rva: slot.rva, slot }
  }
  const slots = locator.slots(name)
  return slots.length === 0 ? undefined : { to: 'import', name, slots }
}
