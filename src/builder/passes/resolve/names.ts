/** Targets that no changed object defines. */
import { EDGE_KINDS, isBranchKind } from '../../../machine/edges.ts'
import type { Edge } from '../../graph.ts'
import { beforeGraphs } from '../../program.ts'
import type { Context } from './context.ts'
import { targetOfIfunc } from './indirect.ts'
import { importSlots, newImport, preemptible } from './slots.ts'
import { nowhere, type Outcome } from './target.ts'
import { tls } from './thread-local.ts'

/** Symbols that no changed object defines. */
export function targetOfName(edge: Edge, context: Context): Outcome {
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
