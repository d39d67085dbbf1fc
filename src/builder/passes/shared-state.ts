/**
 * New variables that come along with the patches for more than one base image. Where an object of the build before stands in each of these images (a
 * static library), each has variables of its own, as it would after a new start; else nobody knows whose the new one is.
 */
import type { BaseImage } from '../base-image.ts'
import type { Block } from '../graph.ts'
import { isAnonymous } from '../places.ts'
import type { Program } from '../program.ts'
import { type Reason, reason } from '../reasons.ts'
import type { Locator } from './locate.ts'

const STATE: ReadonlySet<Block['kind']> = new Set(['data', 'bss', 'tls'])

export interface SharedState {
  readonly reason: Reason
  readonly bases: ReadonlySet<BaseImage>
}

export function sharedState(
  program: Program,
  patches: readonly { readonly travelling: readonly Block[]; readonly places: Locator }[],
): SharedState[] {
  const bringers = new Map<Block, Locator[]>()
  for (const { travelling, places } of patches)
    for (const block of travelling) {
      if (!STATE.has(block.kind) || isAnonymous(block)) continue
      const known = bringers.get(block)
      if (known === undefined) bringers.set(block, [places])
      else known.push(places)
    }
  const shared: SharedState[] = []
  for (const [block, locators] of bringers) {
    if (locators.length < 2) continue
    const pair = program.pairs.find(({ after }) => after?.blocks.includes(block))
    const { before } = pair ?? {}
    if (before !== undefined && locators.every((places) => places.agreement(before).same > 0)) continue
    const names = locators.map(({ base }) => base.name).join(' and ')
    shared.push({
      reason: reason('STATE_OF_SEVERAL', block.name, pair?.path ?? '', `the patches for ${names} would each have one`),
      bases: new Set(locators.map(({ base }) => base)),
    })
  }
  return shared
}
