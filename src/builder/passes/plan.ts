/** The last pass but one: what the back end writes, and how each old function is redirected. */

import { viewOf } from '../../binary/struct.ts'
import { architectureOf } from '../../machine/architectures.ts'
import { isBranchKind } from '../../machine/edges.ts'
import type { BaseImage } from '../base-image.ts'
import type { Block, Edge, GraphSymbol, LinkGraph } from '../graph.ts'
import { aimOf, contentOf, entryOf, functionSize, isAnonymous, primarySymbol } from '../places.ts'
import type { PatchedFunction, PatchPlan } from '../plan.ts'
import { type Reason, reason } from '../reasons.ts'
import { bytesBefore, gapsOf, surroundingsOf } from '../redirects.ts'
import type { Choice, ChosenFunction } from './choose.ts'
import type { Place } from './synthesize/copies.ts'
import { fromTemplate, type MadeBlock } from './synthesize/making.ts'
import type { Synthesized } from './synthesize.ts'

export interface Naming {
  readonly sequence: number
  readonly id: string
  readonly description: string
  readonly cves: readonly string[]
}

export function plan(
  choice: Choice,
  { blocks, resolutions: synthesized, places }: Synthesized,
  graphOf: ReadonlyMap<Block, LinkGraph>,
  base: BaseImage,
  naming: Naming,
): { plan: PatchPlan; reasons: Reason[] } {
  const resolutions = new Map(synthesized)
  const made: Block[] = []
  const reasons: Reason[] = []
  const functions: PatchedFunction[] = []
  const gapBefore = gapsOf(base)
  for (const chosen of choice.functions) {
    const place = places.get(chosen.after)
    if (place === undefined) continue
    const redirect = redirectOf(chosen, base, gapBefore)
    if ('code' in redirect) {
      reasons.push(redirect)
      continue
    }
    if (losesLandingPad(chosen, base))
      reasons.push(reason('LANDING_PAD_LOST', chosen.change.name, chosen.change.file, 'it does not begin with one any more'))
    const landing = landingFor(chosen, place, base)
    if (landing.made !== undefined) {
      made.push(landing.made.block)
      for (const [edge, resolution] of landing.made.resolutions) resolutions.set(edge, resolution)
    }
    functions.push({
      name: chosen.change.name,
      file: chosen.graphAfter.sourceFile ?? chosen.change.file,
      rva: chosen.rva,
      size: chosen.size,
      fragments: chosen.fragments,
      block: place.block,
      entry: place.offset + entryOf(chosen.after) + landing.at,
      ...(landing.made === undefined ? {} : { landing: landing.made.block }),
      redirect: redirect.kind,
      originalBytes: redirect.originalBytes,
    })
  }
  const { sequence, id, description, cves } = naming
  const callout = choice.callout === undefined ? undefined : places.get(choice.callout)
  return {
    plan: {
      base,
      sequence,
      id,
      description,
      cves,
      functions,
      callout: callout && choice.callout && { block: callout.block, offset: callout.offset + entryOf(choice.callout) },
      blocks: [...blocks, ...made],
      files: filesOf(places, graphOf),
      resolutions,
    },
    reasons,
  }
}

interface LandingPlan {
  /** From the new function's entry. */
  readonly at: number
  /** A block that leads there, with its references. */
  readonly made?: MadeBlock
}

function landingFor({ before, after, rva, size }: ChosenFunction, place: Place, base: BaseImage): LandingPlan {
  const old = base.bytes(rva, size) ?? codeFromEntry(before)
  const landing = architectureOf(base.machine).redirects.landing(old, codeFromEntry(after))
  if ('at' in landing) return landing
  const symbol = primarySymbol(after) as GraphSymbol
  const to = { to: 'patch', block: place.block, offset: place.offset + entryOf(after) } as const
  return { at: 0, made: fromTemplate(`landing.${symbol.name}`, landing.through, symbol, to) }
}

function losesLandingPad({ before, after }: ChosenFunction, base: BaseImage): boolean {
  const { hasLandingPad } = architectureOf(base.machine).redirects
  return hasLandingPad(codeFromEntry(before)) && !hasLandingPad(codeFromEntry(after))
}

const codeFromEntry = (block: Block): Uint8Array => contentOf(block).subarray(entryOf(block))

function filesOf(places: Synthesized['places'], graphOf: ReadonlyMap<Block, LinkGraph>): Map<Block, string> {
  const files = new Map<Block, string>()
  for (const [original, { block }] of places) {
    const graph = graphOf.get(original)
    if (graph !== undefined) files.set(block, graph.sourceFile ?? graph.path)
  }
  return files
}

function redirectOf(
  chosen: ChosenFunction,
  base: BaseImage,
  gapBefore: (rva: number) => number,
): { kind: string; originalBytes: number } | Reason {
  const { rva, size, change } = chosen
  const code = base.bytes(rva, size)
  const first = base.bytes(rva, 4)
  if (code === undefined || first === undefined)
    return reason('FUNCTION_TOO_SHORT', change.name, change.file, `has ${size} bytes in ${base.name}`)
  const redirect = architectureOf(base.machine).redirects.plan({
    before: bytesBefore(base, rva),
    // The old object's own pad, else what lies behind the function before.
    padding: entryOf(chosen.before) || gapBefore(rva),
    code,
    size,
    branchTargets: branchTargets(chosen),
    around: surroundingsOf(base, rva),
  })
  if ('refused' in redirect) {
    const code = redirect.refused === 'UNDECODABLE' ? 'REDIRECT_UNSAFE' : redirect.refused
    return reason(code, change.name, change.file, `it ${redirect.why}`)
  }
  return { kind: redirect.kind, originalBytes: viewOf(first).getUint32(0, true) }
}

/**
 * Offsets into the old function to which tables, addresses of labels and split-off parts lead; calls and pointers to its entry are none.
 * A jump table's entry counts from the table's start: the greatest place before it that code refers to.
 */
export function branchTargets({ before, graphBefore }: Pick<ChosenFunction, 'before' | 'graphBefore'>): number[] {
  const entry = entryOf(before)
  const targets = new Set<number>()
  for (const block of graphBefore.blocks) {
    if (block.kind === 'unwind') continue
    for (const edge of block.edges) {
      if (edge.target.block !== before) continue
      if (block === before && isBranchKind(edge.kind)) continue
      const relativeTable = block.kind !== 'code' && edge.kind === 'pcrel32'
      const aim = relativeTable ? tableAim(edge, block, graphBefore.blocks) : aimOf(edge)
      if (aim !== entry || (relativeTable && isAnonymous(block))) targets.add(aim - entry)
    }
  }
  return [...targets].sort((a, b) => a - b)
}

function tableAim(edge: Edge, table: Block, blocks: readonly Block[]): number {
  let start = 0
  for (const user of blocks) {
    if (user.kind !== 'code') continue
    for (const reference of user.edges) {
      const aim = aimOf(reference)
      if (reference.target.block === table && aim <= edge.offset && aim > start) start = aim
    }
  }
  return edge.target.offset + edge.addend - (edge.offset - start)
}

/** The size of the new function, from its entry. */
export const sizeAfter = ({ after }: ChosenFunction): number => functionSize(after)
