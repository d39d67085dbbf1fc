/**
 * Run-pre matching, as Ksplice named it: a function of the build before that was found in the base image has, in its relocated fields
 * there, the addresses of everything that it refers to. They need no symbol table, and they contradict a wrong guess.
 */
import { viewOf } from '../../binary/struct.ts'
import type { LinkedReference, SeenTarget } from '../../machine/architecture.ts'
import { architectureOf } from '../../machine/architectures.ts'
import type { BaseImage, ImportSlot } from '../base-image.ts'
import type { Block, Edge } from '../graph.ts'

/** What the base image holds for `edge` of `block`, which begins at `rva`. undefined: the field does not tell. */
export function seenTarget(block: Block, edge: Edge, base: BaseImage, rva: number): SeenTarget | undefined {
  const place = rva + edge.offset
  const bytes = base.bytes(place, edge.size)
  if (bytes === undefined || edge.offset < 0) return undefined
  const view = viewOf(bytes)
  const preferred = Number(base.preferredBase)
  switch (edge.kind) {
    case 'pcrel32':
      return { at: 'rva', rva: place + view.getInt32(0, true) - edge.addend }
    case 'image32':
      return { at: 'rva', rva: view.getUint32(0, true) - edge.addend }
    case 'secrel32':
      return base.threadLocal === undefined ? undefined : { at: 'rva', rva: base.threadLocal.rva + view.getInt32(0, true) - edge.addend }
    case 'abs32':
      return base.relocatable ? undefined : { at: 'rva', rva: view.getUint32(0, true) - preferred - edge.addend }
    case 'abs64': {
      // ELF keeps the addend in the relocation record and zero in the field.
      const value = view.getBigUint64(0, true)
      return value === 0n ? undefined : { at: 'rva', rva: Number(value - base.preferredBase) - edge.addend }
    }
    default: {
      const seen = architectureOf(base.machine).linking.seen({ ...referenceOf(block, edge), place }, base)
      return seen?.at === 'block' ? base.threadLocal && { at: 'rva', rva: base.threadLocal.rva + seen.offset } : seen
    }
  }
}

function referenceOf(block: Block, edge: Edge): Omit<LinkedReference, 'place'> {
  const { kind, addend, offset, target } = edge
  const siblings: LinkedReference['siblings'] = () =>
    block.edges
      .filter((other) => other !== edge && other.target === target && other.addend === addend)
      .map((other) => ({ kind: other.kind, distance: other.offset - offset }))
  return { kind, addend, siblings, content: block.content, field: offset }
}

/** The import that a branch to `rva` ends in, where the linker put a stub there. */
export function importBehind(base: BaseImage, rva: number): ImportSlot | undefined {
  const slot = architectureOf(base.machine).linking.slotOfStub(base, rva)
  return slot === undefined ? undefined : base.importSlots.find((s) => s.rva === slot)
}
