/** Where blocks lie in a section of a patch image. */
import { HotpatchError } from '../../errors.ts'
import type { Block } from '../graph.ts'

export interface SectionLayout {
  /** From the start of the section. */
  readonly offsets: ReadonlyMap<Block, number>
  readonly size: number
}

const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment

/**
 * Blocks in their order, each at its alignment, at least `leastAlignment`; groups whole, where their first member stands.
 * Alignments are at most a page, as sections begin pages. `mayLieAt`: whether a block works at an offset of the section.
 */
export function layOutBlocks(
  blocks: readonly Block[],
  leastAlignment: number,
  mayLieAt: (block: Block, offset: number) => boolean = () => true,
): SectionLayout {
  const offsets = new Map<Block, number>()
  const groups = new Map<string, Block[]>()
  for (const block of blocks) {
    if (block.group === undefined) continue
    const members = groups.get(block.group)
    if (members === undefined) groups.set(block.group, [block])
    else members.push(block)
  }
  let end = 0
  for (const block of blocks) {
    if (offsets.has(block)) continue
    if (block.group === undefined) {
      const alignment = Math.max(block.alignment, leastAlignment)
      let at = alignUp(end, alignment)
      while (!mayLieAt(block, at)) at += alignment
      offsets.set(block, at)
      end = at + block.size
      continue
    }
    const members = groups.get(block.group) ?? []
    const alignment = Math.max(...members.map((member) => member.alignment))
    let start = alignUp(end, alignment)
    while (!members.every((member) => mayLieAt(member, start + groupOffset(member)))) start += alignment
    for (const member of members) {
      const at = start + groupOffset(member)
      offsets.set(member, at)
      end = Math.max(end, at + member.size)
    }
  }
  return { offsets, size: end }
}

function groupOffset(block: Block): number {
  if (block.groupOffset === undefined)
    throw new HotpatchError('DEFECT', `${block.name} belongs to a group, but its place in it is not known`)
  return block.groupOffset
}
