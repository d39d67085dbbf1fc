/** Where edges lead, and small questions about blocks that several passes ask. */
import { biasOf, EDGE_KINDS } from '../machine/edges.ts'
import type { Block, Edge, GraphSymbol } from './graph.ts'
import { fragmentOf, isBookkeeping, isConstantName, isConstantSection, isPointerName } from './names.ts'

/**
 * The symbol by which a person knows the block; undefined for anonymous blocks. Of several names for one place (gcc's `f.localalias`,
 * weak aliases) it is the one that others see, and of those the one without a compiler's suffix.
 */
export function primarySymbol(block: Block): GraphSymbol | undefined {
  let best: GraphSymbol | undefined
  for (const symbol of block.symbols) {
    if (symbol.kind === 'section' || symbol.name === '') continue
    if (best === undefined || rank(symbol) > rank(best)) best = symbol
  }
  return best
}

const rank = (symbol: GraphSymbol): number =>
  (symbol.kind === 'none' ? 0 : 8) +
  (symbol.binding === 'global' ? 4 : symbol.binding === 'weak' ? 2 : 0) +
  (symbol.name.includes('.') ? 0 : 1)

const anonymity = new WeakMap<Block, boolean>()

/** Whether the block has no identity but its contents: literals, jump tables, exception tables, compilers' constant tables. */
export function isAnonymous(block: Block): boolean {
  let known = anonymity.get(block)
  if (known === undefined) {
    known = judgeAnonymous(block)
    anonymity.set(block, known)
  }
  return known
}

function judgeAnonymous(block: Block): boolean {
  if (block.constant !== undefined || isConstantSection(block.section)) return true
  const named = block.symbols.filter((s) => s.kind !== 'section' && s.name !== '')
  if (block.kind === 'rodata') return named.every((s) => isConstantName(s.name))
  return block.kind === 'data' && named.length > 0 && named.every((s) => isPointerName(s.name))
}

/** Whether the block takes part in a comparison at all. */
export const isOfInterest = (block: Block): boolean => block.kind !== 'unwind' && !isBookkeeping(block.section)

/** The offset at which calls enter a function: behind the padding that `-fpatchable-function-entry` puts before the symbol. */
export function entryOf(block: Block): number {
  const symbol = primarySymbol(block)
  return symbol?.offset ?? 0
}

/** Bytes from the entry to the end of the function. */
export function functionSize(block: Block): number {
  const symbol = primarySymbol(block)
  const room = block.size - entryOf(block)
  return symbol !== undefined && symbol.size > 0 && symbol.size <= room ? symbol.size : room
}

/** The name of the function that `block` is the cold part of. */
export function parentName(block: Block): string | undefined {
  return block.kind === 'code' ? fragmentOf(primarySymbol(block)?.name ?? '') : undefined
}

/**
 * The place in the target's block that an edge means, from the block's start (x64: where the field ends its instruction). PC-relative
 * fields in data (jump tables) count from somewhere else: for them it means nothing.
 */
export function aimOf(edge: Edge): number {
  return edge.target.offset + edge.addend + biasOf(edge.kind)
}

/** Whether the edge leads to the entry of the function `block`. */
export const aimsAtEntry = (edge: Edge, block: Block): boolean => aimOf(edge) === entryOf(block)

/** Whether the edge reaches thread-local data. COFF reaches it by its distance from the start of the `.tls` section, and nothing else that is kept. */
export const isThreadLocal = (edge: Edge): boolean =>
  EDGE_KINDS[edge.kind].role === 'tls' ||
  EDGE_KINDS[edge.kind].access !== undefined ||
  edge.target.kind === 'tls' ||
  edge.target.block?.kind === 'tls'

/** Blocks that have an edge to each block, within what is given. */
export function referrersIn(blocks: Iterable<Block>): Map<Block, Block[]> {
  const referrers = new Map<Block, Block[]>()
  for (const block of blocks) {
    for (const edge of block.edges) {
      const target = edge.target.block
      if (target === undefined) continue
      const known = referrers.get(target)
      if (known === undefined) referrers.set(target, [block])
      else if (known[known.length - 1] !== block) known.push(block)
    }
  }
  return referrers
}

/** The content as bytes, also where it is all zero. */
export const contentOf = (block: Block): Uint8Array => block.content ?? new Uint8Array(block.size)
