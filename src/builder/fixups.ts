/** Fields of the patch image that can be filled in once its layout is known. What depends on the base image stays zero: see tables.ts. */
import { viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import { withField } from '../machine/arm64/fields.ts'
import type { Block, Edge } from './graph.ts'
import { OWN_ABSOLUTE32_KINDS, OWN_THREAD_RECORDS } from './own-records.ts'
import type { PatchPlan } from './plan.ts'

export interface FixedUp {
  /** The bytes of each block that has any. */
  readonly contents: Map<Block, Uint8Array>
  /** 8-byte fields that get the address of an RVA of the patch image: `addend` is that RVA. */
  readonly relative: RelativeField[]
  /** 8-byte fields that get a distance from the thread pointer: `addend` is the RVA of the initial value. */
  readonly distances: RelativeField[]
}

export interface RelativeField {
  readonly block: Block
  readonly offset: number
  readonly addend: number
}

interface Range {
  readonly low: number
  readonly high: number
}
const I32: Range = { low: -0x80000000, high: 0x7fffffff }
const U32: Range = { low: 0, high: 0xffffffff }

/** How a field is filled whose target lies at `target` (addend included) in the patch image, itself at `place`. */
type Fill = (view: DataView, at: number, target: number, place: number, edge: Edge) => void

const checked = (value: number, range: Range, edge: Edge): number => {
  if (value < range.low || value > range.high)
    throw new HotpatchError('DEFECT', `the ${edge.kind} field for ${edge.target.name} cannot hold ${value}: the patch image is too large`)
  return value
}

const relative32: Fill = (view, at, target, place, edge) => view.setInt32(at, checked(target - place, I32, edge), true)

const inInstruction: Fill = (view, at, target, place, { kind }) =>
  view.setUint32(at, withField(kind, view.getUint32(at, true), target, place), true)

const FILLS: Readonly<Partial<Record<Edge['kind'], Fill>>> = {
  pcrel32: relative32,
  branch32: relative32,
  pcrel64: (view, at, target, place) => view.setBigInt64(at, BigInt(target - place), true),
  branch26: inInstruction,
  branch19: inInstruction,
  branch14: inInstruction,
  literal19: inInstruction,
  adr21: inInstruction,
  page21: inInstruction,
  pageoff12: inInstruction,
  image32: (view, at, target, _place, edge) => view.setUint32(at, checked(target, U32, edge), true),
}

/**
 * @param rvaOf where each block of the plan lies in the patch image
 * Throws DEFECT for a reference that the passes should have turned into another.
 */
export function fixUp(plan: PatchPlan, rvaOf: (block: Block) => number): FixedUp {
  const contents = new Map<Block, Uint8Array>()
  const relative: RelativeField[] = []
  const distances: RelativeField[] = []
  for (const block of plan.blocks) {
    if (block.content === undefined) continue
    const content = block.content.slice()
    contents.set(block, content)
    const view = viewOf(content)
    for (const edge of block.edges) {
      const resolution = plan.resolutions.get(edge)
      // Images begin on pages: what is left of an address in its page is known.
      if (resolution?.to === 'base' && edge.kind === 'pageoff12') inInstruction(view, edge.offset, resolution.rva + edge.addend, 0, edge)
      if (resolution?.to !== 'patch') continue
      const target = rvaOf(resolution.block) + resolution.offset + edge.addend
      if (edge.kind === 'abs64') {
        relative.push({ block, offset: edge.offset, addend: target })
        continue
      }
      if (edge.kind === 'tpoff64') {
        distances.push({ block, offset: edge.offset, addend: target })
        continue
      }
      // A record of the table: the field is the engine's to fill in.
      if (OWN_ABSOLUTE32_KINDS.has(edge.kind) || OWN_THREAD_RECORDS.has(edge.kind)) continue
      const fill = FILLS[edge.kind]
      if (fill === undefined) throw new HotpatchError('DEFECT', `a ${edge.kind} field of ${block.name} leads into the patch image`)
      fill(view, edge.offset, target, rvaOf(block) + edge.offset, edge)
    }
  }
  return { contents, relative, distances }
}
