/**
 * Noise is not change: a function in which nothing differs but line numbers that moved (`__LINE__` in an assert) is what it was.
 *
 * A fix can be one number, too. So no number is passed over because it looks like a line: each is proven to be one by the line tables of both
 * builds, which name the line that an instruction was made from. The instruction only puts the number somewhere; before, the number is a
 * line that the table before names there, and after, it is the line that the table after names for the same statement. All else of the
 * two versions is the same, instruction by instruction and reference by reference. What is not proven is a change.
 */
import { type CodePairing, type DifferentConstant, pairedIndex } from '../../machine/pairing.ts'
import type { CodePairings } from '../code-pairings.ts'
import type { Block, Edge, LinkGraph } from '../graph.ts'
import type { SourceDiff } from '../source-diff.ts'
import type { Comparison } from './compare.ts'
import { type LinePair, type LinePairs, linePairs } from './line-pairs.ts'

export interface LineNoise {
  /** Whether two versions of code that are not the same differ in nothing but what is proven to be noise. */
  isAll(before: Block, after: Block): boolean
}

export interface LineSources {
  graphOf(block: Block): LinkGraph | undefined
  readonly diff: SourceDiff | undefined
}

export function lineNoise(pairings: CodePairings, compare: Comparison, { graphOf, diff }: LineSources): LineNoise {
  return {
    isAll(before, after) {
      const [lines, linesAfter] = [graphOf(before)?.lines, graphOf(after)?.lines]
      if (lines === undefined || linesAfter === undefined) return false
      const pairing = pairings.of(before, after)
      if (pairing === undefined || pairing.constants.length === 0) return false
      const named = linePairs(pairing, { block: before, lines }, { block: after, lines: linesAfter })
      return pairing.constants.every((constant) => isLine(constant, named, diff)) && sameReferences(pairing, before, after, compare)
    },
  }
}

/** A line without a row of its own (that of a call that was inlined, or within a call over several lines) is no further from one that has. */
const NEXT_LINES = 4

/**
 * Whether a constant is the number of a line. At -O2 a call's arguments are loaded some instructions away from the row of the call, and the row of a call
 * that was inlined is that of the callee; a macro over several lines is known by its first, or by its last.
 */
function isLine({ index, before, after, loads }: DifferentConstant, named: LinePairs, diff: SourceDiff | undefined): boolean {
  if (!loads) return false
  const [line, lineAfter] = [Number(before), Number(after)]
  // The author's own word: the line is still there, and has become that one.
  const agrees = (file: string): boolean => diff === undefined || diff.lineAfter(file, line) === lineAfter
  const near = named.near(index)
  if (near.some((pair) => pair.before === line && pair.after === lineAfter && agrees(pair.file))) return true
  // Between two lines of one file that moved as far as the number did, and with them all that the function has around it.
  const moved = ({ before: from, after: to }: LinePair): boolean => to - from === lineAfter - line
  const isAround = (pair: LinePair): boolean => Math.abs(pair.before - line) <= NEXT_LINES
  return [...new Set(near.filter(isAround).map(({ file }) => file))].filter(agrees).some((file) => {
    const around = named.all.filter((pair) => pair.file === file && isAround(pair))
    return around.every(moved) && around.some((pair) => pair.before < line) && around.some((pair) => pair.before > line)
  })
}

/** Every field that a relocation fills lies at the same place of the same instruction, and means the same thing. */
function sameReferences(pairing: CodePairing, before: Block, after: Block, compare: Comparison): boolean {
  if (before.edges.length !== after.edges.length) return false
  return before.edges.every((b, i) => {
    const a = after.edges[i] as Edge
    const index = instructionWith(pairing, 'before', b.offset)
    const pair = pairing.instructions[index]
    if (pair === undefined || index !== instructionWith(pairing, 'after', a.offset)) return false
    if (b.offset - pair.before !== a.offset - pair.after || b.kind !== a.kind || b.size !== a.size) return false
    return compare.sameTarget(b, a)
  })
}

/** Index of the instruction that holds an offset. */
function instructionWith(pairing: CodePairing, version: 'before' | 'after', offset: number): number {
  const next = pairedIndex(pairing, version, offset)
  return pairing.instructions[next]?.[version] === offset ? next : next - 1
}
