/** Each target as the kind of its reference can say it. */
import { viewOf } from '../../../binary/struct.ts'
import { biasOf } from '../../../machine/edges.ts'
import type { Block, Edge } from '../../graph.ts'
import type { Resolution } from '../../plan.ts'
import type { Target } from '../resolve/target.ts'
import { baked, type Expressed, type Refused, throughPointer, unsupported } from './expressed.ts'
import { toImport, toNewImport } from './imports.ts'
import { type Making, pointerTo, stubTo } from './making.ts'
import { indexFor, toOwnThreadLocal, toThreadLocal } from './thread-local.ts'

export function express(edge: Edge, target: Target, block: Block, making: Making): Expressed | Refused {
  switch (target.to) {
    case 'patch':
      return toPatch(edge, target, block, making)
    case 'base':
      return toBase(edge, target, making)
    case 'import':
      return toImport(edge, target, block, making)
    case 'new-import':
      return toNewImport(edge, target, block, making)
    case 'constant':
      return toConstant(edge, target.value, block, making)
    case 'thread-local':
      return toThreadLocal(edge, target.reach, block, making)
    case 'own-index':
      return inPatch(edge, { to: 'patch', block: indexFor(edge, target, making), offset: 0 }, making)
    case 'no-call':
      return baked(edge)
  }
}

function toPatch(edge: Edge, target: Target & { to: 'patch' }, block: Block, making: Making): Expressed | Refused {
  const place = making.places.get(target.block)
  if (place === undefined) return unsupported(edge)
  const resolution = { to: 'patch', block: place.block, offset: place.offset + target.offset } as const
  return place.block.kind === 'tls' ? toOwnThreadLocal(edge, resolution, block, making) : inPatch(edge, resolution, making)
}

function inPatch(edge: Edge, resolution: Resolution & { to: 'patch' }, making: Making): Expressed | Refused {
  switch (edge.kind) {
    case 'abs64':
    case 'pcrel32':
    case 'pcrel64':
    case 'branch32':
    case 'image32':
    case 'branch26':
    case 'branch19':
    case 'branch14':
    case 'literal19':
    case 'adr21':
    case 'page21':
    case 'pageoff12':
      return { edge, resolution }
    case 'abs32':
    case 'abs32s':
      // The image can lie below 2 GB only beside a base image that does.
      if (making.base.relocatable)
        return { code: 'ABSOLUTE_ADDRESS', detail: `its reference to ${edge.target.name} at offset ${edge.offset} is a 32-bit address` }
      return { edge, resolution }
    default:
      return throughPointer(edge, () => ({ to: 'patch', block: pointerTo(edge.target, resolution, making), offset: 0 }), making)
  }
}

function toBase(edge: Edge, { rva, slot }: Target & { to: 'base' }, making: Making): Expressed | Refused {
  const { base } = making
  if (slot !== undefined) making.imports.set(slot.rva, slot)
  const resolution = { to: 'base', rva } as const
  const aim = rva + edge.addend + biasOf(edge.kind)
  switch (edge.kind) {
    case 'branch26':
    case 'branch19':
    case 'branch14':
      return throughStub(edge, resolution, making)
    case 'abs64':
    case 'pcrel32':
    case 'branch32':
    case 'page21':
    case 'pageoff12':
      if (aim < 0 || aim > base.imageSize)
        return {
          code: 'OUT_OF_REACH',
          detail: `its reference to ${edge.target.name} at offset ${edge.offset} leads outside of ${base.name}`,
        }
      return { edge, resolution }
    case 'abs32':
    case 'abs32s':
      if (base.relocatable)
        return {
          code: 'ABSOLUTE_ADDRESS',
          detail: `its reference to ${edge.target.name} is a 32-bit address, but ${base.name} may lie anywhere`,
        }
      return { edge, resolution }
    case 'image32':
      // RVAs count from the patch image; an exception handler of the base image is reached through a jump.
      return edge.addend === 0
        ? { edge, resolution: { to: 'patch', block: stubTo(edge.target, resolution, making), offset: 0 } }
        : unsupported(edge)
    default:
      return throughPointer(edge, () => ({ to: 'patch', block: pointerTo(edge.target, resolution, making), offset: 0 }), making)
  }
}

/** Room that a patch image and its table take beside a base image, generously. */
const BESIDE = 2 ** 23

/** A branch to the base image whose field may not reach it, and one that does. */
function throughStub(edge: Edge, resolution: Resolution & { to: 'base' }, making: Making): Expressed | Refused {
  const { base, linking } = making
  if (edge.kind === 'branch26' && base.imageSize + BESIDE < linking.branchReach) return { edge, resolution }
  const target = { ...resolution, rva: resolution.rva + edge.addend }
  if (target.rva < 0 || target.rva > base.imageSize) return unsupported(edge)
  return { edge: { ...edge, addend: 0 }, resolution: { to: 'patch', block: stubTo(edge.target, target, making), offset: 0 } }
}

function toConstant(edge: Edge, value: bigint, block: Block, making: Making): Expressed | Refused {
  const view = block.content === undefined ? undefined : viewOf(block.content)
  const sum = value + BigInt(edge.addend)
  switch (edge.kind) {
    case 'abs64':
      view?.setBigUint64(edge.offset, BigInt.asUintN(64, sum), true)
      return baked(edge)
    case 'abs32':
    case 'abs32s': {
      const fits = edge.kind === 'abs32' ? BigInt.asUintN(32, sum) === sum : BigInt.asIntN(32, sum) === sum
      if (!fits) return { code: 'OUT_OF_REACH', detail: `the value of ${edge.target.name} does not fit into 32 bits` }
      view?.setUint32(edge.offset, Number(BigInt.asUintN(32, sum)), true)
      return baked(edge)
    }
    default:
      return throughPointer(edge, () => ({ to: 'patch', block: pointerTo(edge.target, value, making), offset: 0 }), making)
  }
}
