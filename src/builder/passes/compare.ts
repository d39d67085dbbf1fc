/**
 * Comparison by meaning: two blocks are the same if their bytes are (relocated fields hold zero in a graph) and each reference leads to
 * the same thing. Named things are the same if they are twins: what they hold is their own matter. Anonymous things are the same
 * if what they hold is, and so on, through jump tables and tables of strings; a cycle of such references is the same until shown otherwise.
 */
import { EDGE_KINDS } from '../../machine/edges.ts'
import type { Block, Edge } from '../graph.ts'
import { aimOf, contentOf, isAnonymous } from '../places.ts'
import type { Twins } from '../program.ts'

export interface Comparison {
  /** Whether bytes and references are the same, whoever refers to the blocks. */
  same(before: Block, after: Block): boolean
  /** Whether the two edges mean the same thing. */
  sameTarget(before: Edge, after: Edge): boolean
  /** Whether two unwind records say the same; where their functions lie is no part of it. */
  sameUnwind(before: Block, after: Block): boolean
}

/** Whether two offsets are the same place of a function, the same instruction, though its code may have moved. */
export type SamePlace = (before: Block, at: number, after: Block, atAfter: number) => boolean

export function comparison(twins: Twins, samePlace: SamePlace = (_before, at, _after, atAfter) => at === atAfter): Comparison {
  /** Settled results about anonymous things, by the two blocks and the offsets that are looked at. */
  const settled = new Map<Block, Map<string, boolean>>()
  /** Assumed the same while they are being looked at; dropped again when the whole turns out to differ. */
  let assumed: [Block, string][] = []
  const numbers = new Map<Block, number>()
  const numberOf = (block: Block): number => {
    let n = numbers.get(block)
    if (n === undefined) {
      n = numbers.size
      numbers.set(block, n)
    }
    return n
  }

  const remember = (before: Block, key: string, result: boolean): void => {
    const known = settled.get(before)
    if (known === undefined) settled.set(before, new Map([[key, result]]))
    else known.set(key, result)
  }

  /** @param table where it begins in the block of `before`, if the edges are those of a table */
  const sameEdges = (before: readonly Edge[], after: readonly Edge[], shift: number, table?: number): boolean =>
    before.length === after.length &&
    before.every((b, i) => {
      const a = after[i]
      return (
        a !== undefined &&
        a.offset === b.offset + shift &&
        a.kind === b.kind &&
        a.size === b.size &&
        leadsToSame(b, a, table === undefined ? undefined : b.offset - table)
      )
    })

  const sameContent = (before: Block, after: Block): boolean => before.size === after.size && sameBytes(contentOf(before), contentOf(after))
  const sameBlocks = (before: Block, after: Block): boolean => sameContent(before, after) && sameEdges(before.edges, after.edges, 0)
  const sameTables = (before: Block, after: Block, at: number): boolean =>
    sameContent(before, after) && sameEdges(before.edges, after.edges, 0, at)

  const sameTarget = (b: Edge, a: Edge): boolean => leadsToSame(b, a, undefined)

  /** @param entry of the field in its table; undefined: it is no table's */
  const leadsToSame = (b: Edge, a: Edge, entry: number | undefined): boolean => {
    const before = b.target
    const after = a.target
    if (before.absolute !== undefined || after.absolute !== undefined) return before.absolute === after.absolute && b.addend === a.addend
    if (before.block === undefined || after.block === undefined) {
      // One side may define what the other takes from another object.
      const visible = (edge: Edge) => edge.target.block === undefined || edge.target.binding !== 'local'
      return before.name === after.name && visible(b) && visible(a) && b.addend === a.addend
    }
    const anonymous = isAnonymous(before.block)
    if (anonymous !== isAnonymous(after.block)) return false
    if (!anonymous) {
      const same = twins.before.get(before.block) === after.block || (before.block === after.block && !twins.before.has(before.block))
      if (!same && !sameVisibleName(b, a)) return false
      if (!same || before.block.kind !== 'code' || after.block.kind !== 'code') return before.offset + b.addend === after.offset + a.addend
      return samePlace(before.block, placeIn(b, entry), after.block, placeIn(a, entry))
    }
    return sameConstant(before.block, aimOf(b), after.block, aimOf(a))
  }

  const sameConstant = (before: Block, at: number, after: Block, atAfter: number): boolean => {
    const key = `${numberOf(after)} ${at} ${atAfter}`
    const known = settled.get(before)?.get(key)
    if (known !== undefined) return known
    const outermost = assumed.length === 0
    remember(before, key, true)
    assumed.push([before, key])
    const result =
      before.kind === after.kind &&
      (before.constant === 'strings' && after.constant === 'strings'
        ? sameString(before, at, after, atAfter)
        : (at === atAfter && sameTables(before, after, at)) || sameExtent(before, at, after, atAfter))
    if (!result) {
      // What was assumed on the way here may have leant on this: forget it, keep what was refuted.
      for (const [block, assumedKey] of assumed) settled.get(block)?.delete(assumedKey)
      remember(before, key, false)
    }
    if (outermost) assumed = []
    else if (!result) assumed = assumed.filter(([block, k]) => settled.get(block)?.has(k))
    return result
  }

  /** The part of an uncut block from `at` up to the next place that something refers to. */
  const sameExtent = (before: Block, at: number, after: Block, atAfter: number): boolean => {
    const length = extent(before, at)
    const lengthAfter = extent(after, atAfter)
    if (length <= 0 || lengthAfter <= 0) return false
    const bytes = contentOf(before).subarray(at, at + length)
    const bytesAfter = contentOf(after).subarray(atAfter, atAfter + lengthAfter)
    const common = Math.min(length, lengthAfter)
    if (!sameBytes(bytes.subarray(0, common), bytesAfter.subarray(0, common))) return false
    // What is longer on one side may only be padding.
    if (!bytes.subarray(common).every((x) => x === 0) || !bytesAfter.subarray(common).every((x) => x === 0)) return false
    const within = (edges: readonly Edge[], from: number, to: number) => edges.filter((e) => e.offset >= from && e.offset < to)
    return sameEdges(within(before.edges, at, at + length), within(after.edges, atAfter, atAfter + lengthAfter), atAfter - at, at)
  }

  const extent = (block: Block, at: number): number => {
    let end = block.size
    for (const symbol of block.symbols) if (symbol.offset > at && symbol.offset < end) end = symbol.offset
    return at < 0 ? 0 : end - at
  }

  const sameUnwind = (before: Block, after: Block): boolean =>
    sameBytes(contentOf(before), contentOf(after)) &&
    before.edges.length === after.edges.length &&
    before.edges.every((b, i) => {
      const to = b.target.block
      const other = after.edges[i]?.target.block
      return to?.kind !== 'unwind' || (other?.kind === 'unwind' && sameBytes(contentOf(to), contentOf(other)))
    })

  return { same: sameBlocks, sameTarget, sameUnwind }
}

/** The place in its target that an edge means. Distances in a table count from the table's start, `entry` bytes before the field. */
const placeIn = (edge: Edge, entry: number | undefined): number =>
  entry === undefined || !EDGE_KINDS[edge.kind].pcRelative ? aimOf(edge) : edge.target.offset + edge.addend - entry

const sameVisibleName = (b: Edge, a: Edge): boolean =>
  b.target.binding !== 'local' && a.target.binding !== 'local' && b.target.name === a.target.name && b.target.kind !== 'section'

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0
}

/** Strings from a place in each of two blocks up to their terminators, which are as wide as their characters. */
function sameString(before: Block, at: number, after: Block, atAfter: number): boolean {
  const whole = at < 0 || atAfter < 0 || at > before.size || atAfter > after.size
  if (whole) return at === atAfter && sameBytes(contentOf(before), contentOf(after))
  const text = contentOf(before).subarray(at)
  const textAfter = contentOf(after).subarray(atAfter)
  const width = characterWidth(before)
  if (width !== characterWidth(after)) return false
  return sameBytes(text.subarray(0, stringLength(text, width)), textAfter.subarray(0, stringLength(textAfter, width)))
}

/** Of mergeable strings, as the section's name says it (`.rodata.str4.4`: 4-byte characters). */
function characterWidth(block: Block): number {
  return Number(/\.str([124])\.\d+$/.exec(block.section)?.[1] ?? 1)
}

/** Bytes up to and including the terminator of `width` zero bytes. */
function stringLength(bytes: Uint8Array, width: number): number {
  for (let i = 0; i + width <= bytes.length; i += width) if (bytes.subarray(i, i + width).every((x) => x === 0)) return i + width
  return bytes.length
}
