/** Functions of the two builds, instruction by instruction. Each pair is looked at once, when first asked for. */
import { pairCode as pairArm64 } from '../machine/arm64/pairing.ts'
import { type CodePairing, type PairCode, pairedIndex } from '../machine/pairing.ts'
import { pairCode as pairX64 } from '../machine/x64/pairing.ts'
import type { Block, Machine } from './graph.ts'
import { contentOf, entryOf } from './places.ts'

/** Processors whose code can be paired. */
const PAIRS: Readonly<Partial<Record<Machine, PairCode>>> = { x64: pairX64, arm64: pairArm64 }

export interface CodePairings {
  /** undefined: they do not consist of the same instructions. */
  of(before: Block, after: Block): CodePairing | undefined
  /** Whether two offsets are the same instruction of two functions that consist of the same. */
  samePlace(before: Block, at: number, after: Block, atAfter: number): boolean
}

export function codePairings(machineOf: (block: Block) => Machine | undefined): CodePairings {
  const known = new Map<Block, Map<Block, CodePairing | undefined>>()
  const make = (before: Block, after: Block): CodePairing | undefined => {
    const machine = machineOf(before)
    const pair = machine !== undefined && machine === machineOf(after) ? PAIRS[machine] : undefined
    return pair?.(versionOf(before), versionOf(after))
  }
  const of = (before: Block, after: Block): CodePairing | undefined => {
    const ofBefore = known.get(before) ?? new Map<Block, CodePairing | undefined>()
    known.set(before, ofBefore)
    if (!ofBefore.has(after)) ofBefore.set(after, make(before, after))
    return ofBefore.get(after)
  }
  return {
    of,
    samePlace(before, at, after, atAfter) {
      if (at === entryOf(before) && atAfter === entryOf(after)) return true
      const sameBytes = before.size === after.size && Buffer.compare(contentOf(before), contentOf(after)) === 0
      const pairing = sameBytes ? undefined : of(before, after)
      if (pairing === undefined) return at === atAfter
      const pair = pairing.instructions[pairedIndex(pairing, 'before', at)]
      return pair !== undefined && pair.before === at && pair.after === atAfter
    },
  }
}

const versionOf = (block: Block) => ({ bytes: contentOf(block), relocated: new Set(block.edges.map((edge) => edge.offset)) })
