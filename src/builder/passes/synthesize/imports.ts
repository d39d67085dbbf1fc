/** References to other modules: through slots of the base image, and through pointers of the patch. */
import { EDGE_KINDS } from '../../../machine/edges.ts'
import type { ImportSlot } from '../../base-image.ts'
import type { Block, Edge } from '../../graph.ts'
import type { Resolution } from '../../plan.ts'
import type { Target } from '../resolve/target.ts'
import { type Expressed, type Refused, throughPointer, unsupported } from './expressed.ts'
import { type Making, pointerTo, stubTo } from './making.ts'

export function toImport(edge: Edge, target: Target & { to: 'import' }, block: Block, making: Making): Expressed | Refused {
  const eager = target.slots.find((s) => s.binding === 'eager')
  const any = eager ?? target.slots[0]
  if (any === undefined) return unsupported(edge)
  const through = (slot: ImportSlot): Resolution => {
    making.imports.set(slot.rva, slot)
    return { to: 'base', rva: slot.rva }
  }
  const address = (): Expressed | Refused => {
    // A pointer of the patch's own is final from the start.
    const own = making.libraries.find(target.name)
    if (own !== undefined) return toNewImport(edge, { to: 'new-import', import: own, isSlot: false }, block, making)
    const why = `${making.base.name} has no pointer that is final before the function is first called`
    return { code: 'IMPORT_ADDRESS', detail: `it takes the address of ${target.name}, for which ${why}; ${making.libraries.searched}` }
  }
  switch (edge.kind) {
    case 'branch32':
    case 'branch26':
    case 'branch19':
    case 'branch14':
    case 'image32': {
      const stub = stubTo(edge.target, through(any), making)
      return { edge, resolution: { to: 'patch', block: stub, offset: 0 } }
    }
    case 'abs64':
      if (eager === undefined) return address()
      if (edge.addend !== 0) return unsupported(edge)
      through(eager)
      return { edge, resolution: { to: 'base-pointer', rva: eager.rva } }
    default:
      if (EDGE_KINDS[edge.kind].role !== 'got') return address()
      if (eager !== undefined) return throughPointer(edge, () => through(eager), making)
      // Calls and jumps are content with a slot that binds at the first call.
      return making.linking.jumpsThrough(block.content, edge.offset) ? throughPointer(edge, () => through(any), making) : address()
  }
}

/** Fields that a slot of the patch image itself can be reached with. */
const REACHES_SLOT: ReadonlySet<Edge['kind']> = new Set(['pcrel32', 'abs64', 'page21', 'pageoff12'])

/** As linkers do it: a pointer for each import, a jump through it where a function is called directly or its address must be near. */
export function toNewImport(edge: Edge, target: Target & { to: 'new-import' }, block: Block, making: Making): Expressed | Refused {
  const { name, kind } = target.import
  const slot: Resolution = { to: 'patch', block: pointerTo(edge.target, { to: 'import', import: target.import }, making), offset: 0 }
  const isFunction = kind === 'function'
  const stub = (): Expressed => ({
    edge,
    resolution: { to: 'patch', block: stubTo(edge.target, slot, making, { through: true }), offset: 0 },
  })
  const variable: Refused = {
    code: 'IMPORT_ADDRESS',
    detail: `it reaches ${name} of ${target.import.library} as if it lay nearby, which a variable of another module does not`,
  }
  if (target.isSlot) return REACHES_SLOT.has(edge.kind) ? { edge, resolution: slot } : unsupported(edge)
  switch (edge.kind) {
    case 'branch32':
    case 'branch26':
    case 'branch19':
    case 'branch14':
    case 'image32':
      return stub()
    case 'page21':
    case 'pageoff12':
      return isFunction && making.base.format === 'pe' ? stub() : variable
    case 'abs64':
      if (making.base.format === 'pe') return isFunction ? stub() : variable
      return edge.addend === 0 ? { edge, resolution: { to: 'import', import: target.import } } : unsupported(edge)
    case 'pcrel32':
      if (block.kind === 'code' && making.linking.loadInstead?.(block.content, edge.offset)) return { edge, resolution: slot }
      // COFF: the address of a function of another module is that of the jump to it.
      return isFunction && making.base.format === 'pe' ? stub() : variable
    default:
      return throughPointer(edge, () => slot, making)
  }
}
