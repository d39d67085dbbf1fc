/** Where code computes with a number: how the size of a type betrays where objects of it are made. */
import type { CodeRange } from '../../machine/architecture.ts'
import { architectureOf } from '../../machine/architectures.ts'
import { EDGE_KINDS } from '../../machine/edges.ts'
import type { Block, Edge, GraphSymbol, LinkGraph } from '../graph.ts'

export interface SizeUse {
  readonly graph: LinkGraph
  readonly block: Block
  /** The function that is called next, through whatever pointer; undefined: none is, or it is not known. */
  readonly callee: GraphSymbol | undefined
  /** Whether the second argument of that call is zero. */
  readonly zeroSecond: boolean
  /** Whether the number is for that call, and for nothing else. */
  readonly isItsArgument: boolean
}

/** Numbers below this stand in instructions for too many other things. */
export const LEAST_TELLING = 128

/** Every use of `value`, from LEAST_TELLING on, in the code of a graph, frames' sizes aside. */
export function sizeUses(graph: LinkGraph, value: number): SizeUse[] {
  const { constantUses } = architectureOf(graph.machine).code
  return graph.blocks.flatMap((block) =>
    block.kind !== 'code' || block.content === undefined
      ? []
      : constantUses(block.content, value).map(({ namedBy, zeroSecond, isItsArgument }) => ({
          graph,
          block,
          callee: namedIn(block, namedBy),
          zeroSecond,
          isItsArgument,
        })),
  )
}

/** What lies in a variable is not what it points to: behind the pointer's own load only a slot of the GOT names something. */
function namedIn(block: Block, [call, pointer, place]: readonly CodeRange[]): GraphSymbol | undefined {
  const behind = edgeIn(block, place)
  return (edgeIn(block, call) ?? edgeIn(block, pointer) ?? (behind && EDGE_KINDS[behind.kind].role === 'got' ? behind : undefined))?.target
}

const edgeIn = (block: Block, range: CodeRange | undefined): Edge | undefined =>
  range && block.edges.find((edge) => edge.offset >= range.offset && edge.offset < range.offset + range.length)
