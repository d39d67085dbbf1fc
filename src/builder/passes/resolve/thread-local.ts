/** Targets that every thread has of its own: those of the base image, and new ones. */
import { architectureOf } from '../../../machine/architectures.ts'
import { EDGE_KINDS } from '../../../machine/edges.ts'
import { THREAD_LOCAL_ALIGNMENT } from '../../../patch/definitions.ts'
import type { BaseSymbol } from '../../base-image.ts'
import type { Block, Edge } from '../../graph.ts'
import { beforeGraphs } from '../../program.ts'
import { sectionAt } from '../prove.ts'
import { reachOf, type Variable } from '../thread-local.ts'
import { type Context, definitionOf, unitOf } from './context.ts'
import { nowhere, type Outcome, type Target } from './target.ts'

export function targetOfThreadLocal(edge: Edge, user: Block, context: Context): Outcome {
  const { base } = context.locator
  const { name } = edge.target
  // By descriptors the start of the block is a symbol of its own.
  const access = name === MODULE_BASE ? 'local-dynamic' : EDGE_KINDS[edge.kind].access
  const fresh = newThreadLocal(edge, context)
  // What the code has offsets from becomes the thread pointer, where none of them is in the block of a library.
  const isFromThread = (): boolean => base.threadLocal?.fromThreadPointer !== undefined || countsToNewAlone(user, context)
  if (base.format === 'elf' && access === 'local-dynamic' && isFromThread())
    return { to: 'thread-local', reach: { by: 'distance', distance: 0 } }
  if (fresh !== undefined) {
    if (access === undefined) return tls(name, `, which is new, as ${edge.kind}`)
    if (access === 'local-dynamic' || (access === 'block-offset' && !isFromThread()))
      return tls(name, `, which is new, by its distance from variables of ${base.name}: ${WAYS_OUT[base.format]}`)
    return fresh
  }
  const variable = threadLocalOf(edge, context)
  if ('to' in variable) return variable
  const reach = reachOf(edge, variable, base)
  return reach === undefined ? tls(name, `, and nothing in ${base.name} leads to it`) : { to: 'thread-local', reach }
}

const WAYS_OUT = {
  elf: 'give it __attribute__((tls_model("initial-exec")))',
  pe: 'use it in a function of its own with __attribute__((noinline))',
} as const

/** The name under which code of PE has its module's number, and the engine the patch's. undefined: it stays the base image's. */
export function indexOfNewThreadLocals({ target }: Edge, user: Block, context: Context): (Target & { to: 'own-index' }) | undefined {
  if (context.locator.base.format !== 'pe' || target.name !== THREAD_INDEX || !countsToNewAlone(user, context)) return undefined
  const unit = unitOf(user, context)
  const variables = blockOffsetsOf(unit, context).flatMap((edge) => newThreadLocal(edge, context)?.block ?? [])
  return { to: 'own-index', unit, variables: [...new Set(variables)] }
}

/** Why a new variable cannot have room in every thread. */
export function whyNoRoom({ edges, alignment }: Block, { locator: { base } }: Context): string | undefined {
  if (edges.length > 0) return 'its initial value has an address in it'
  const most = THREAD_LOCAL_ALIGNMENT[base.format]
  return alignment > most ? `it is aligned to ${alignment} bytes, and loaders grant ${most}` : undefined
}

/** A variable of the build after alone: it travels, and the engine gives it room in every thread. */
function newThreadLocal({ target }: Edge, context: Context): (Target & { to: 'patch' }) | undefined {
  const definition = target.block === undefined ? definitionOf(target.name, context) : { block: target.block, symbol: target }
  if (definition === undefined || definition === 'ambiguous') return undefined
  const { block, symbol } = definition
  const isNew = block.kind === 'tls' && !context.twins.after.has(block) && !context.twins.ambiguous.has(block)
  return isNew ? { to: 'patch', block, offset: symbol.offset } : undefined
}

/** Whether all offsets in a thread-local block that a function has, its split-off parts included, are those of new variables. */
function countsToNewAlone(user: Block, context: Context): boolean {
  const offsets = blockOffsetsOf(unitOf(user, context), context)
  return offsets.length > 0 && offsets.every((edge) => newThreadLocal(edge, context) !== undefined)
}

function blockOffsetsOf(unit: Block, context: Context): Edge[] {
  const parts = context.graphOf.get(unit)?.blocks.filter((block) => block.kind === 'code' && unitOf(block, context) === unit) ?? [unit]
  return parts.flatMap(({ edges }) => edges.filter(({ kind }) => EDGE_KINDS[kind].access === 'block-offset'))
}

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

/** What code of PE calls its module's number; the C library defines it, and the loader fills it in. */
const THREAD_INDEX = '_tls_index'

/** Of the linker, for the start of the module's block. */
const MODULE_BASE = '_TLS_MODULE_BASE_'

export const tls = (name: string, why = ''): Outcome => nowhere('TLS_UNSUPPORTED', `it uses the thread-local ${name}${why}`)

/** Whether a reference is the call of a sequence that is rewritten into one without. Edges are met in ascending order. */
export function isCallLeftOut(edge: Edge, user: Block, targets: ReadonlyMap<Edge, Target>, { locator }: Context): boolean {
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
