/** Targets that an object of the build after defines: they travel, or lie in the base image where their twin does. */
import { isBranchKind } from '../../../machine/edges.ts'
import type { Block, Edge } from '../../graph.ts'
import { isPointerName } from '../../names.ts'
import { aimsAtEntry, entryOf, isAnonymous, primarySymbol } from '../../places.ts'
import { type Context, isOneOfMany, unitOf } from './context.ts'
import { targetOfIfunc } from './indirect.ts'
import { newImport, ofAnotherModule, preemptible } from './slots.ts'
import { nowhere, type Outcome } from './target.ts'
import { tls } from './thread-local.ts'

export function targetOfBlock(edge: Edge, user: Block, block: Block, offset: number, context: Context): Outcome {
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
