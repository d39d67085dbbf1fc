/** The rules by which a changed layout is let through. docs/layout-rules.md has each with its proof: keep the two together. */
import type { Aggregate } from '../../binary/types/model.ts'
import type { Block, LinkGraph } from '../graph.ts'
import { unnumbered } from '../names.ts'
import { primarySymbol } from '../places.ts'
import { Allocators } from './allocators.ts'
import { fieldsOf, type LayoutChange } from './compare.ts'
import { LEAST_TELLING, type SizeUse, sizeUses } from './constants.ts'
import type { FunctionUse, Use, Uses } from './uses.ts'

/** A change of a struct, class or union, and everything that rules look at. */
export interface LayoutCase {
  readonly key: string
  readonly change: LayoutChange
  readonly before: Aggregate
  /** Of the build before; all of its objects when `everywhere` is asked for. */
  readonly uses: Uses
  /** Of all objects of the build before, parsed when they are asked for. */
  everywhere(): { readonly graphs: readonly LinkGraph[]; readonly uses: Uses }
  /** Code of the build before that the patch replaces. */
  readonly switched: ReadonlySet<Block>
}

export interface Verdict {
  /** Whether the rule lets the change through. */
  readonly safe: boolean
  /** What was found, or what the rule lacks. */
  readonly why: string
}

export interface Rule {
  readonly name: 'same-values' | 'frames-only' | 'zero-padding'
  /** The rule leans on a switch of all functions at one instant, in which no thread is inside any of them. */
  readonly atOneInstant: boolean
  /** undefined: the rule is not about changes of this form. */
  readonly judge: (layout: LayoutCase) => Verdict | undefined
}

const safe = (why: string): Verdict => ({ safe: true, why })
const lacking = (why: string): Verdict => ({ safe: false, why })

export const RULES: readonly Rule[] = [
  { name: 'same-values', atOneInstant: false, judge: sameValues },
  { name: 'frames-only', atOneInstant: true, judge: framesOnly },
  { name: 'zero-padding', atOneInstant: false, judge: zeroPadding },
]

/** Members became integers of the same width that read every old value as it was meant. */
function sameValues({ change }: LayoutCase): Verdict | undefined {
  if (change.sizeBefore !== change.sizeAfter || change.members.length === 0) return undefined
  const widened = change.members.every(({ what, before }) => what === 'resigned' && /^(_Bool|bool)$/.test(before?.type ?? ''))
  return widened ? safe('0 and 1 are all that it held') : undefined
}

/** Objects lie in frames of functions alone, all of which switch while no thread is in any of them. */
function framesOnly(layout: LayoutCase): Verdict | undefined {
  if (layout.uses.statics.length > 0 || layout.uses.containers.length > 0 || layout.uses.frames.length === 0) return undefined
  const { uses, graphs } = layout.everywhere()
  if (uses.statics.length > 0 || uses.containers.length > 0) return undefined
  const kept = [...uses.keptPointers, ...uses.returns, ...uses.pointerVariables]
  if (kept.length > 0) return lacking(`${namesOf(kept)} can keep a pointer to one`)
  const silent = graphs.find((graph) => graph.types?.() === undefined && graph.blocks.length > 0)
  if (silent !== undefined) return lacking(`${silent.path} has no debug information`)
  const visible = uses.parameters.filter((use) => isVisible(use))
  if (visible.length > 0) return lacking(`${namesOf(visible)} can be given one by other modules`)
  const staying = [...uses.frames, ...uses.parameters].filter((use) => !isSwitched(use, layout.switched))
  if (staying.length > 0) return lacking(`${namesOf(staying)} does not switch`)
  const made = allocationOf(layout.key, layout.before.size, graphs)
  if (made !== undefined) return lacking(made)
  return safe(`it lies in frames of ${namesOf(uses.frames)} alone, which switch while no thread is inside`)
}

const NAMED = 4

function namesOf(uses: readonly Use[]): string {
  const names = [...new Set(uses.map(({ name }) => name))]
  return names.length > NAMED ? `${names.slice(0, NAMED).join(', ')} and ${names.length - NAMED} more` : names.join(', ')
}

/** Blocks of a function, clones and all: `f`, `f.constprop.0`. */
const blocksOf = ({ graph, name }: FunctionUse): Block[] =>
  graph.blocks.filter((block) => {
    const symbol = block.kind === 'code' ? primarySymbol(block) : undefined
    return symbol !== undefined && (symbol.name === name || unnumbered(symbol.name).split('.')[0] === name)
  })

function isSwitched(use: FunctionUse, switched: ReadonlySet<Block>): boolean {
  const blocks = blocksOf(use).filter((block) => !/\.cold(\.\d+)?$/.test(primarySymbol(block)?.name ?? ''))
  return blocks.length > 0 && blocks.every((block) => switched.has(block))
}

const isVisible = (use: FunctionUse): boolean =>
  use.info.external && blocksOf(use).some((block) => block.symbols.some((s) => s.binding !== 'local' && !s.hidden && s.kind !== 'section'))

/** Why objects of this size may also come from an allocator; undefined: no allocator is told it. Small numbers tell nothing. */
function allocationOf(key: string, size: number, graphs: readonly LinkGraph[]): string | undefined {
  if (size < LEAST_TELLING) return undefined
  const knowing = new Set(graphs.filter((graph) => (graph.types?.()?.definitions(key).length ?? 0) > 0))
  const uses = graphs.flatMap((graph) => sizeUses(graph, size))
  const allocated = uses.find(({ callee }) => /alloc/i.test(callee?.name ?? ''))
  if (allocated !== undefined) return `${allocated.callee?.name} is told its size in ${allocated.block.name}`
  // Where the type is known, the number is its size: what is done with it must be seen.
  const unclear = uses.find(({ graph, callee, isItsArgument }) => knowing.has(graph) && !(isItsArgument && callee !== undefined))
  return unclear && `${unclear.block.name} has its size (${size}) ${purposeOf(unclear)}`
}

/** New members where the old layout has padding, which every old object has as zero. */
function zeroPadding(layout: LayoutCase): Verdict | undefined {
  const { change, before } = layout
  if (before.kind === 'union' || change.sizeBefore !== change.sizeAfter || change.members.length === 0) return undefined
  if (!change.members.every(({ what, after }) => what === 'added' && after !== undefined && isPadding(before, after))) return undefined
  const { uses, graphs } = layout.everywhere()
  if (uses.frames.length > 0) return lacking(`it also lies in frames (of ${namesOf(uses.frames)}), which begin as they are`)
  const silent = graphs.find((graph) => graph.types?.() === undefined && graph.blocks.length > 0)
  if (silent !== undefined) return lacking(`${silent.path} has no debug information`)
  const filled = uses.statics.find((use) => !beginsAsZero(use, graphs))
  if (filled !== undefined) return lacking(`${filled.name} does not begin as zero`)
  const pointers = [uses.keptPointers, uses.parameters, uses.pointerVariables, uses.returns]
  // What nobody points to is in no allocated memory.
  const made = pointers.some((list) => list.length > 0) ? zeroedOnly(layout.key, before.size, uses, graphs) : []
  if (typeof made === 'string') return lacking(made)
  if (made.length === 0 && uses.statics.length === 0) return lacking('where objects of it are made was not found')
  const places = [...uses.statics.map(({ name }) => name), ...made]
  const names = change.members.map(({ name }) => name).join(', ')
  return safe(
    `${names} ${change.members.length === 1 ? 'lies' : 'lie'} in padding that is zero in all objects (${[...new Set(places)].join(', ')})`,
  )
}

function isPadding(before: Aggregate, { bitOffset, bitSize }: { bitOffset: number | undefined; bitSize: number | undefined }): boolean {
  if (bitOffset === undefined || bitSize === undefined) return false
  return fieldsOf(before).every(
    (field) =>
      field.bitOffset !== undefined &&
      field.bitSize !== undefined &&
      (field.bitOffset + field.bitSize <= bitOffset || bitOffset + bitSize <= field.bitOffset),
  )
}

function beginsAsZero({ name }: Use, graphs: readonly LinkGraph[]): boolean {
  const blocks = graphs.flatMap((graph) =>
    graph.blocks.filter((b) => b.kind !== 'code' && b.symbols.some((s) => unnumbered(s.name) === name)),
  )
  return blocks.length > 0 && blocks.every(({ content, edges }) => edges.length === 0 && (content?.every((byte) => byte === 0) ?? true))
}

/**
 * The functions in which zeroed memory for it, or for what holds it, is taken; or why other memory may be. Only code of objects that know the
 * type can have its size.
 */
function zeroedOnly(key: string, size: number, uses: Uses, graphs: readonly LinkGraph[]): string[] | string {
  const allocators = new Allocators(graphs)
  const made: string[] = []
  for (const name of new Set([key, ...uses.containers.map((use) => use.name)])) {
    for (const graph of graphs) {
      const sizes = new Set(
        graph
          .types?.()
          ?.definitions(name)
          .map((definition) => definition.size),
      )
      for (const each of name === key && sizes.size > 0 ? [size] : sizes) {
        if (each < LEAST_TELLING) return `${each} bytes are too few to find in code where they are allocated`
        for (const use of sizeUses(graph, each)) {
          if (!givesZeros(use, allocators)) return `${use.block.name} has the size of ${name} (${each}) ${purposeOf(use)}`
          made.push(`${use.callee?.name} in ${use.block.name}`)
        }
      }
    }
  }
  return made
}

const givesZeros = ({ callee, zeroSecond, isItsArgument }: SizeUse, allocators: Allocators): boolean =>
  isItsArgument && callee !== undefined && ((callee.name === 'memset' && zeroSecond) || allocators.zeroes(callee))

const purposeOf = ({ callee, isItsArgument }: SizeUse): string =>
  callee === undefined || !isItsArgument ? 'in a computation' : `for ${callee.name}`
