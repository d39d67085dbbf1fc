/** .eh_frame of a patch image: records without gaps between them, equal CIEs as one, every FDE pointing at its CIE. */
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import type { Block, Edge } from '../graph.ts'
import type { PatchPlan, Resolution } from '../plan.ts'

export interface EhFrameLayout {
  /** CIEs first. */
  readonly records: readonly Block[]
  /** Offset of each record in the section, CIEs that are left out included: they stand for their equal. */
  readonly offsets: ReadonlyMap<Block, number>
  /** With the terminator. */
  readonly size: number
  /** Blocks of the plan that are not written, since an equal one is. */
  readonly merged: ReadonlySet<Block>
  readonly fdes: readonly Block[]
}

const ALIGNMENT = 4
const TERMINATOR = 4
/** In every FDE: length, distance to the CIE, then where the code begins. */
const CIE_POINTER = 4
const BEGIN = 8

const cieEdge = (block: Block): Edge | undefined => block.edges.find((edge) => edge.kind === 'cie32')

const paddedSize = ({ size }: Block): number => Math.ceil(size / ALIGNMENT) * ALIGNMENT

const describe = (resolution: Resolution | undefined, blocks: Map<Block, number>): string => {
  if (!resolution) return '?'
  if (resolution.to === 'import') return `import:${resolution.import.library}:${resolution.import.name}`
  if (resolution.to !== 'patch') return `${resolution.to}:${resolution.rva}`
  let number = blocks.get(resolution.block)
  if (number === undefined) {
    number = blocks.size
    blocks.set(resolution.block, number)
  }
  return `patch:${number}+${resolution.offset}`
}

/** undefined: the plan has no unwind records. */
export function layOutEhFrame(plan: PatchPlan): EhFrameLayout | undefined {
  const unwind = plan.blocks.filter((block) => block.kind === 'unwind')
  const fdes = unwind.filter((block) => cieEdge(block) !== undefined)
  if (fdes.length === 0) return undefined
  const numbers = new Map<Block, number>()
  const first = new Map<string, Block>()
  const standIn = new Map<Block, Block>()
  const cies: Block[] = []
  for (const block of unwind) {
    if (cieEdge(block)) continue
    const edges = block.edges.map((e) => `${e.offset}${e.kind}${e.addend}${describe(plan.resolutions.get(e), numbers)}`)
    const key = `${Buffer.from(block.content ?? []).toString('hex')} ${edges.join(' ')}`
    const known = first.get(key)
    if (known) standIn.set(block, known)
    else {
      first.set(key, block)
      cies.push(block)
    }
  }
  const offsets = new Map<Block, number>()
  let size = 0
  for (const block of [...cies, ...fdes]) {
    offsets.set(block, size)
    size += paddedSize(block)
  }
  for (const [block, known] of standIn) offsets.set(block, offsets.get(known) as number)
  return { records: [...cies, ...fdes], offsets, size: size + TERMINATOR, merged: new Set(standIn.keys()), fdes }
}

/** @param contents of the blocks, fixed up, lengths as they were */
export function encodeEhFrame({ records, offsets, size }: EhFrameLayout, contents: ReadonlyMap<Block, Uint8Array>): Uint8Array {
  const data = new Uint8Array(size)
  const view = viewOf(data)
  for (const block of records) {
    const at = offsets.get(block) as number
    data.set(contents.get(block) ?? block.content ?? new Uint8Array(0), at)
    // A record that was filled up: the zeros are DW_CFA_nop.
    view.setUint32(at, paddedSize(block) - 4, true)
    const edge = cieEdge(block)
    if (!edge) continue
    const cie = edge.target.block && offsets.get(edge.target.block)
    if (cie === undefined) throw new HotpatchError('DEFECT', `the CIE of ${block.name} is not in the plan`)
    view.setUint32(at + CIE_POINTER, at + CIE_POINTER - cie, true)
  }
  return data
}

/** Where each FDE's code begins, and where it lies itself. FDEs for code outside of the patch image are a defect. */
export function fdeAddresses(
  { fdes, offsets }: EhFrameLayout,
  plan: PatchPlan,
  frame: number,
  rvaOf: (block: Block) => number,
): { code: number; fde: number }[] {
  return fdes.map((block) => {
    const edge = block.edges.find((e) => e.offset === BEGIN)
    const resolution = edge && plan.resolutions.get(edge)
    if (!edge || resolution?.to !== 'patch') throw new HotpatchError('DEFECT', `${block.name} describes no code of the patch image`)
    return { code: rvaOf(resolution.block) + resolution.offset + edge.addend, fde: frame + (offsets.get(block) as number) }
  })
}
