/**
 * Constants that their section does not give away. Clang writes the pointers by which exception tables name types and personality
 * routines into `.data`, under private names that no symbol table keeps. What only exception tables and unwind records refer to, and what holds
 * nothing but pointers, is no variable.
 */
import type { Block, LinkGraph } from '../graph.ts'
import type { Program } from '../program.ts'

export function markConstants(program: Program): void {
  for (const { before, after } of program.pairs) for (const graph of [before, after]) if (graph !== undefined) markGraph(graph)
}

type Settled = { -readonly [K in keyof Block]: Block[K] }

function markGraph(graph: LinkGraph): void {
  const candidates = new Set(graph.blocks.filter(isUnnamedPointers))
  if (candidates.size === 0) return
  const used = new Set<Block>()
  for (const block of graph.blocks) {
    const isTable = block.kind === 'unwind' || block.section.startsWith('.gcc_except_table')
    for (const { target } of block.edges) {
      if (target.block === undefined || !candidates.has(target.block)) continue
      if (isTable) used.add(target.block)
      else candidates.delete(target.block)
    }
  }
  for (const block of candidates) if (used.has(block)) (block as Settled).constant = 'fixed'
}

const POINTER = 8

function isUnnamedPointers({ kind, symbols, edges, size, constant }: Block): boolean {
  if (kind !== 'data' || constant !== undefined || symbols.some((s) => s.kind !== 'section')) return false
  return size > 0 && edges.length * POINTER === size && edges.every((e) => e.kind === 'abs64')
}
