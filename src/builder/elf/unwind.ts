/** .eh_frame of an object: one block for each record, and each FDE with the function that it describes. */
import { readEhFrame } from '../../binary/dwarf/eh-frame.ts'
import type { Block, GraphSymbol } from '../graph.ts'
import type { CutSection, Piece } from './pieces.ts'

/** Throws TRUNCATED, MALFORMED. */
export const unwindPieces = (content: Uint8Array): Piece[] =>
  readEhFrame(content).map(({ offset, size }) => ({ start: offset, end: offset + size, constant: undefined }))

/**
 * Gives every FDE its edge to the CIE and makes it a companion of its function's block. Call it when the section's relocations
 * are edges already.
 * @param anchor the symbol that names a block's start
 */
export function attachUnwind({ kept, starts, blocks }: CutSection, anchor: (block: Block) => GraphSymbol, notes: Set<string>): void {
  if (!kept.content) return
  const blockAt = new Map(starts.map((start, i) => [start, blocks[i] as Block]))
  for (const record of readEhFrame(kept.content)) {
    if (record.kind !== 'fde') continue
    const block = blockAt.get(record.offset) as Block
    const cie = blockAt.get(record.cie.offset) as Block
    const offset = record.ciePointerOffset - record.offset
    block.content?.fill(0, offset, offset + 4)
    const target = anchor(cie)
    // Some assemblers leave a relocation here, too.
    const known = block.edges.findIndex((edge) => edge.offset === offset)
    if (known >= 0) block.edges.splice(known, 1)
    block.edges.push({ offset, size: 4, kind: 'cie32', target, addend: -target.offset, origin: 'relocation', confidence: 1 })
    block.edges.sort((a, b) => a.offset - b.offset)

    const begin = block.edges.find((edge) => edge.offset === record.begin.offset - record.offset)
    const described = begin?.target.block
    if (described?.kind === 'code') {
      described.companions.push(block)
      const reach = begin ? begin.target.offset + begin.addend + Number(record.range) : 0
      if (reach > described.size) notes.add(`an FDE of section ${kept.section.name} describes more than one function`)
    }
  }
}
