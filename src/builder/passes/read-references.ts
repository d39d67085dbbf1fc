/**
 * Run-pre matching, as Ksplice named it: a function of the build before that was found in the base image has, in its relocated fields
 * there, the addresses of everything that it refers to. They need no symbol table, and they contradict a wrong guess.
 */
import { viewOf } from '../../binary/struct.ts'
import type { BaseImage, ImportSlot } from '../base-image.ts'
import type { Block, Edge } from '../graph.ts'
import { relaxationOf } from './prove.ts'

export type Seen =
  /** Where the edge's target symbol lies (without the addend). */
  | { readonly at: 'rva'; readonly rva: number }
  /** Reached through a slot that the loader fills. */
  | { readonly at: 'slot'; readonly rva: number }

/** What the base image holds for `edge` of `block`, which begins at `rva`. undefined: the field does not tell. */
export function seenTarget(block: Block, edge: Edge, base: BaseImage, rva: number): Seen | undefined {
  const place = rva + edge.offset
  const bytes = base.bytes(place - 2, edge.size + 2)
  if (bytes === undefined || edge.offset < 0) return undefined
  const view = viewOf(bytes)
  const preferred = Number(base.preferredBase)
  switch (edge.kind) {
    case 'pcrel32':
    case 'branch32':
      return { at: 'rva', rva: place + view.getInt32(2, true) - edge.addend }
    case 'image32':
      return { at: 'rva', rva: view.getUint32(2, true) - edge.addend }
    case 'abs32':
    case 'abs32s':
      return base.relocatable ? undefined : { at: 'rva', rva: view.getUint32(2, true) - preferred - edge.addend }
    case 'abs64': {
      // ELF keeps the addend in the relocation record and zero in the field.
      const value = view.getBigUint64(2, true)
      return value === 0n ? undefined : { at: 'rva', rva: Number(value - base.preferredBase) - edge.addend }
    }
    case 'gotpcrel32':
      return seenThroughGot(block, edge, base, place, bytes)
    default:
      return undefined
  }
}

function seenThroughGot(block: Block, edge: Edge, base: BaseImage, place: number, bytes: Uint8Array): Seen | undefined {
  const view = viewOf(bytes)
  const relaxation = block.content === undefined ? undefined : relaxationOf(block.content, edge.offset, bytes, 2)
  switch (relaxation?.field) {
    case 'relative':
      return { at: 'rva', rva: place + 4 + view.getInt32(2, true) }
    case 'relative-one-earlier':
      return { at: 'rva', rva: place + 3 + view.getInt32(1, true) }
    case 'absolute':
      return { at: 'rva', rva: view.getUint32(2, true) - Number(base.preferredBase) }
    default:
      return { at: 'slot', rva: place + view.getInt32(2, true) - edge.addend }
  }
}

/** The slot that a stub of the linker jumps through: `[endbr64] [bnd] jmp *slot(%rip)`. undefined: it is no such stub. */
export function slotOfStub(base: BaseImage, rva: number): number | undefined {
  for (const skipped of [0, 1, 4, 5]) {
    const bytes = base.bytes(rva, skipped + 6)
    if (bytes === undefined) return undefined
    if (bytes[skipped] !== 0xff || bytes[skipped + 1] !== 0x25) continue
    const prefix = [...bytes.subarray(0, skipped)].map((x) => x.toString(16)).join(' ')
    if (!STUB_PREFIXES.has(prefix)) continue
    return rva + skipped + 6 + viewOf(bytes).getInt32(skipped + 2, true)
  }
  return undefined
}

/** Nothing, `bnd`, `endbr64`, `endbr64; bnd`. */
const STUB_PREFIXES: ReadonlySet<string> = new Set(['', 'f2', 'f3 f 1e fa', 'f3 f 1e fa f2'])

/** The import that a branch to `rva` ends in, where the linker put a stub there. */
export function importBehind(base: BaseImage, rva: number): ImportSlot | undefined {
  const slot = slotOfStub(base, rva)
  return slot === undefined ? undefined : base.importSlots.find((s) => s.rva === slot)
}
