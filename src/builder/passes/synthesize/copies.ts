/** Blocks that travel as the patch image has them: copied, and joined where they keep their distances. */
import type { Block, Edge } from '../../graph.ts'
import type { Resolved } from '../resolve.ts'

export interface Place {
  readonly block: Block
  readonly offset: number
}

/** Copies of blocks and their symbols, without edges. Pieces of one group become one block that holds them at their distances. */
export function copyBlocks({ blocks: originals, graphOf }: Resolved): { blocks: Block[]; places: Map<Block, Place> } {
  const places = new Map<Block, Place>()
  const blocks: Block[] = []
  for (const original of originals) {
    if (places.has(original)) continue
    // In the order of their section, as the front end cut it.
    const grouped = original.group === undefined ? [] : (graphOf.get(original)?.blocks.filter((b) => b.group === original.group) ?? [])
    const pieces = grouped.length === 0 ? [original] : grouped
    const copy = pieces.length === 1 ? copyOf(original) : joined(pieces, places)
    if (pieces.length === 1) places.set(original, { block: copy, offset: 0 })
    blocks.push(copy)
  }
  for (const [original, place] of places) {
    for (const symbol of original.symbols) place.block.symbols.push({ ...symbol, block: place.block, offset: symbol.offset + place.offset })
    for (const companion of original.companions) {
      const copy = places.get(companion)
      if (copy !== undefined) place.block.companions.push(copy.block)
    }
  }
  return { blocks, places }
}

/** Without edges, and of no group: what belonged together has become one. */
function copyOf({ groupOffset: _, ...block }: Block): Block {
  return { ...block, content: block.content?.slice(), edges: [], symbols: [], companions: [], group: undefined }
}

function joined(pieces: readonly Block[], places: Map<Block, Place>): Block {
  const widest = pieces.reduce((a, b) => (b.alignment > a.alignment ? b : a))
  let end = 0
  const offsets = pieces.map((piece) => {
    const offset = piece.groupOffset ?? end
    end = Math.max(end, offset + piece.size)
    return offset
  })
  // So far into the block the group begins that its most aligned piece comes to lie as it needs.
  const lead = (widest.alignment - ((offsets[pieces.indexOf(widest)] as number) % widest.alignment)) % widest.alignment
  const content = new Uint8Array(lead + end)
  const block: Block = { ...copyOf(pieces[0] as Block), alignment: widest.alignment, size: content.length, content, constant: undefined }
  pieces.forEach((piece, i) => {
    const offset = lead + (offsets[i] as number)
    if (piece.content !== undefined) content.set(piece.content, offset)
    places.set(piece, { block, offset })
  })
  return block
}

export function moveEdge(edge: Edge, { offset }: Place, places: ReadonlyMap<Block, Place>): Edge {
  const to = edge.target.block === undefined ? undefined : places.get(edge.target.block)
  const target = to === undefined ? edge.target : { ...edge.target, block: to.block, offset: edge.target.offset + to.offset }
  return { ...edge, offset: edge.offset + offset, target }
}
