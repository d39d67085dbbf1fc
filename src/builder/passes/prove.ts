/**
 * Proof that a block of an object is what lies at a place of the base image: its bytes, with relocated fields left out. Linkers rewrite
 * a few instructions around such fields, the processor knows which; those count as the same.
 */
import { architectureOf } from '../../machine/architectures.ts'
import { markField } from '../../machine/edges.ts'
import type { BaseImage, BaseSection } from '../base-image.ts'
import type { Block, Edge } from '../graph.ts'
import { entryOf, functionSize, isThreadLocal } from '../places.ts'

export type Proof = 'same' | 'differs'

export function sectionAt(base: BaseImage, rva: number): BaseSection | undefined {
  return base.sections.find((s) => rva >= s.rva && rva < s.rva + s.size)
}

/** Zero thread-local data takes no place in the image: other sections have its addresses. */
const threadLocalSectionAt = (base: BaseImage, rva: number): BaseSection | undefined =>
  base.sections.find((s) => s.kind === 'tls' && rva >= s.rva && rva < s.rva + s.size)

/** Whether the section of the base image may hold what the block is: what was writable stays so, const data may be relocated. */
function fits(block: Block, section: BaseSection | undefined): boolean {
  if (section === undefined) return false
  if (block.kind === 'code') return section.kind === 'code'
  if (block.kind === 'tls') return section.kind === 'tls'
  if (block.kind === 'rodata') return section.kind !== 'bss' && section.kind !== 'tls'
  return (
    section.kind === 'data' || section.kind === 'bss' || (section.kind === 'rodata' && block.kind === 'data') || section.kind === 'other'
  )
}

/** `rva` is where the block begins. A block of zeros can only be held against the kind of section. */
export function prove(block: Block, base: BaseImage, rva: number): Proof {
  if (!fits(block, block.kind === 'tls' ? threadLocalSectionAt(base, rva) : sectionAt(base, rva))) return 'differs'
  if (block.content === undefined) return 'same'
  // Padding before the entry and behind the end is the linker's and the assembler's.
  const start = block.kind === 'code' ? entryOf(block) : 0
  const end = block.kind === 'code' ? start + functionSize(block) : block.size
  const found = base.bytes(rva + start, end - start)
  if (found === undefined) {
    // Initialised with zeros and placed in .bss by the linker.
    return block.kind !== 'code' && block.edges.length === 0 && block.content.every((x) => x === 0) ? 'same' : 'differs'
  }
  /** Bits that may differ. */
  const ignored = new Uint8Array(block.size)
  for (const edge of block.edges) ignore(ignored, edge, block, base, found, start)
  for (let i = start; i < end; i++) {
    const difference = (block.content[i] as number) ^ (found[i - start] as number)
    if ((difference & ~(ignored[i] as number)) !== 0) return 'differs'
  }
  return 'same'
}

function ignore(ignored: Uint8Array, edge: Edge, block: Block, base: BaseImage, found: Uint8Array, start: number): void {
  markField(ignored, edge.offset, edge.kind)
  if (block.kind !== 'code') return
  const { excuse } = architectureOf(base.machine).linking
  excuse(edge.kind, isThreadLocal(edge), block.content as Uint8Array, edge.offset, found, edge.offset - start, ignored)
}
