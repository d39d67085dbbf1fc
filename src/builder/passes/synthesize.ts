/**
 * Synthesis: the blocks that travel, copied, with each reference turned into one that a patch image can express.
 *
 * Pointers that the loader filled in for the base image are used where they lie; what needs a pointer of its own gets 8 bytes of read-only
 * data, what needs a place to jump to gets a stub. What the base image does not import, the patch image does: a pointer that the engine fills.
 */

import { viewOf } from '../../binary/struct.ts'
import type { Linking, SlotAccess, StubTemplate } from '../../machine/architecture.ts'
import { architectureOf } from '../../machine/architectures.ts'
import { biasOf, EDGE_KINDS } from '../../machine/edges.ts'
import type { BaseImage, ImportSlot } from '../base-image.ts'
import type { Block, Edge, GraphSymbol } from '../graph.ts'
import type { Libraries } from '../libraries.ts'
import { OWN_THREAD_RECORDS } from '../own-records.ts'
import { primarySymbol } from '../places.ts'
import type { Resolution } from '../plan.ts'
import { type Reason, type ReasonCode, reason } from '../reasons.ts'
import type { Resolved, Target } from './resolve.ts'
import type { Reach } from './thread-local.ts'

export interface Synthesized {
  /** What goes into the patch image, in order. */
  readonly blocks: readonly Block[]
  readonly resolutions: ReadonlyMap<Edge, Resolution>
  /** Where each block of the build after is now: pieces that keep their distance have become one block. */
  readonly places: ReadonlyMap<Block, Place>
  readonly imports: readonly ImportSlot[]
  readonly reasons: readonly Reason[]
}

export interface Place {
  readonly block: Block
  readonly offset: number
}

export function synthesize(resolved: Resolved, base: BaseImage, libraries: Libraries): Synthesized {
  const { blocks, places } = copyBlocks(resolved)
  const making: Making = {
    base,
    linking: architectureOf(base.machine).linking,
    libraries,
    places,
    resolutions: new Map(),
    pointers: new Map(),
    stubs: new Map(),
    made: [],
    imports: new Map(),
    numbers: new Map(),
  }
  const reasons: Reason[] = []
  for (const original of resolved.blocks) {
    const place = places.get(original) as Place
    for (const edge of original.edges) {
      const moved = moveEdge(edge, place, places)
      place.block.edges.push(moved)
      const target = resolved.targets.get(edge)
      // An FDE's distance to its CIE is the back end's to write; what has no target has a reason to refuse already.
      if (target === undefined) continue
      const outcome = express(moved, target, place.block, making)
      if ('code' in outcome) {
        const name = primarySymbol(original)?.name ?? original.name
        reasons.push(reason(outcome.code, name, resolved.graphOf.get(original)?.path ?? '', outcome.detail))
      } else {
        place.block.edges[place.block.edges.length - 1] = outcome.edge
        if (outcome.resolution !== undefined) making.resolutions.set(outcome.edge, outcome.resolution)
      }
    }
  }
  for (const block of blocks) block.edges.sort((a, b) => a.offset - b.offset)
  return {
    // What was baked into its field refers to nothing any more.
    blocks: [...blocks.map((block) => withoutBaked(block)), ...making.made],
    resolutions: making.resolutions,
    places,
    imports: [...making.imports.values()].sort((a, b) => a.rva - b.rva),
    reasons,
  }
}

const BAKED = Symbol('baked')
type Baked = Edge & { [BAKED]?: true }
const baked = (edge: Edge): Expressed => ({ edge: { ...edge, [BAKED]: true } as Baked, resolution: undefined })

function withoutBaked(block: Block): Block {
  const kept = block.edges.filter((edge) => (edge as Baked)[BAKED] !== true)
  block.edges.splice(0, block.edges.length, ...kept)
  return block
}

/** Copies of blocks and their symbols, without edges. Pieces of one group become one block that holds them at their distances. */
function copyBlocks({ blocks: originals, graphOf }: Resolved): { blocks: Block[]; places: Map<Block, Place> } {
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

function moveEdge(edge: Edge, { offset }: Place, places: ReadonlyMap<Block, Place>): Edge {
  const to = edge.target.block === undefined ? undefined : places.get(edge.target.block)
  const target = to === undefined ? edge.target : { ...edge.target, block: to.block, offset: edge.target.offset + to.offset }
  return { ...edge, offset: edge.offset + offset, target }
}

interface Making {
  readonly base: BaseImage
  readonly linking: Linking
  readonly libraries: Libraries
  readonly places: ReadonlyMap<Block, Place>
  readonly resolutions: Map<Edge, Resolution>
  /** 8-byte pointers and stubs that were made, by what they lead to. */
  readonly pointers: Map<string, Block>
  readonly stubs: Map<string, Block>
  readonly made: Block[]
  readonly imports: Map<number, ImportSlot>
  readonly numbers: Map<Block, number>
}

type Expressed = { readonly edge: Edge; readonly resolution: Resolution | undefined }
type Refused = { readonly code: ReasonCode; readonly detail: string }

function express(edge: Edge, target: Target, block: Block, making: Making): Expressed | Refused {
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
    case 'no-call':
      return baked(edge)
  }
}

const unsupported = (edge: Edge): Refused => ({
  code: 'REFERENCE_UNSUPPORTED',
  detail: `its reference to ${edge.target.name} at offset ${edge.offset} is of kind ${edge.kind} (${EDGE_KINDS[edge.kind].what})`,
})

/** A field that holds the distance to a pointer now, which itself holds what was wanted. */
function throughPointer(edge: Edge, resolution: () => Resolution, { linking }: Making): Expressed | Refused {
  const kind = linking.throughSlot(edge.kind)
  return kind === undefined ? unsupported(edge) : { edge: { ...edge, kind }, resolution: resolution() }
}

function toPatch(edge: Edge, target: Target & { to: 'patch' }, block: Block, making: Making): Expressed | Refused {
  const place = making.places.get(target.block)
  if (place === undefined) return unsupported(edge)
  const resolution = { to: 'patch', block: place.block, offset: place.offset + target.offset } as const
  if (place.block.kind === 'tls') return toOwnThreadLocal(edge, resolution, block, making)
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

function toImport(edge: Edge, target: Target & { to: 'import' }, block: Block, making: Making): Expressed | Refused {
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
function toNewImport(edge: Edge, target: Target & { to: 'new-import' }, block: Block, making: Making): Expressed | Refused {
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

/** A variable that the patch brings: its distance from the thread pointer is the engine's to say. */
function toOwnThreadLocal(edge: Edge, { block, offset }: Resolution & { to: 'patch' }, user: Block, making: Making): Expressed | Refused {
  const { threadLocal } = making.linking
  const inside = offset + edge.addend + biasOf(edge.kind)
  if (user.content === undefined || inside < 0 || inside > block.size) return unsupported(edge)
  if (OWN_THREAD_RECORDS.has(edge.kind)) return { edge: { ...edge, addend: 0 }, resolution: { to: 'patch', block, offset: inside } }
  const slot = (): Resolution => ({
    to: 'patch',
    block: distanceOf(edge.target, { to: 'patch', block, offset: inside }, making),
    offset: 0,
  })
  return toSlot(edge, threadLocal.toInitialExec(edge.kind, user.content, edge.offset), slot)
}

/** 8 bytes that the engine fills with a distance. */
function distanceOf(symbol: GraphSymbol, to: Resolution & { to: 'patch' }, making: Making): Block {
  const key = `distance ${keyOf(to, making)}`
  const known = making.pointers.get(key)
  if (known !== undefined) return known
  const block = made(`distance.${symbol.name}`, 'rodata', '.rodata.pointers', 8, new Uint8Array(8))
  addEdge(block, { offset: 0, kind: 'tpoff64', addend: 0, target: symbol }, to, making)
  making.pointers.set(key, block)
  making.made.push(block)
  return block
}

const isI32 = (value: number): boolean => value === (value | 0)

function toThreadLocal(edge: Edge, reach: Reach, { content }: Block, making: Making): Expressed | Refused {
  const { threadLocal } = making.linking
  if (content === undefined) return unsupported(edge)
  const { kind, offset: field } = edge
  switch (reach.by) {
    case 'offset':
      return isI32(reach.offset) && threadLocal.toLocalExec(kind, content, field, reach.offset) ? baked(edge) : unsupported(edge)
    case 'distance': {
      const { distance } = reach
      if (isI32(distance) && threadLocal.toLocalExec(kind, content, field, distance)) return baked(edge)
      const slot = (): Resolution => ({ to: 'patch', block: pointerTo(edge.target, BigInt(distance), making), offset: 0 })
      return toSlot(edge, threadLocal.toInitialExec(kind, content, field), slot)
    }
    case 'distance-slot':
      return toSlot(edge, threadLocal.toInitialExec(kind, content, field), () => ({ to: 'base', rva: reach.rva }))
    case 'slot':
      return toSlot(edge, threadLocal.withSlot(kind, field), () => ({ to: 'base', rva: reach.rva }))
    case 'own-pair':
      return toSlot(edge, threadLocal.withSlot(kind, field), () => ({ to: 'patch', block: pairOf(edge.target, reach, making), offset: 0 }))
  }
}

function toSlot(edge: Edge, access: SlotAccess | undefined, slot: () => Resolution): Expressed | Refused {
  if (access === undefined) return unsupported(edge)
  if (access === 'no-field') return baked(edge)
  const { field: offset, kind } = access
  return { edge: { ...edge, offset, kind, addend: -biasOf(kind) }, resolution: slot() }
}

/** What `__tls_get_addr` reads: the module's number, as the base image's loader has it, and the offset in its block. */
function pairOf(symbol: GraphSymbol, { moduleRva, offset }: Reach & { by: 'own-pair' }, making: Making): Block {
  const key = `pair ${moduleRva} ${offset}`
  const known = making.pointers.get(key)
  if (known !== undefined) return known
  const content = new Uint8Array(16)
  viewOf(content).setBigInt64(8, BigInt(offset), true)
  const block = made(`pair.${symbol.name}`, 'rodata', '.rodata.pointers', 8, content)
  addEdge(block, { offset: 0, kind: 'abs64', addend: 0, target: symbol }, { to: 'base-pointer', rva: moduleRva }, making)
  making.pointers.set(key, block)
  making.made.push(block)
  return block
}

/** What a pointer or stub leads to, as a key: each is made once. */
function keyOf(target: Resolution | bigint, { numbers }: Making): string {
  if (typeof target === 'bigint') return `value ${target}`
  if (target.to === 'import') return `import ${target.import.library} ${target.import.name} ${target.import.version ?? ''}`
  if (target.to !== 'patch') return `${target.to} ${target.rva}`
  const number = numbers.get(target.block) ?? numbers.size
  numbers.set(target.block, number)
  return `patch ${number}+${target.offset}`
}

const made = (name: string, kind: Block['kind'], section: string, alignment: number, content: Uint8Array): Block => ({
  name,
  kind,
  section,
  alignment,
  size: content.length,
  content,
  edges: [],
  symbols: [],
  companions: [],
  constant: undefined,
  comdat: undefined,
  group: undefined,
  imageRva: undefined,
})

function addEdge(block: Block, edge: Pick<Edge, 'offset' | 'kind' | 'addend' | 'target'>, resolution: Resolution, making: Making): void {
  const whole: Edge = { ...edge, size: EDGE_KINDS[edge.kind].size, origin: 'relocation', confidence: 1 }
  block.edges.push(whole)
  making.resolutions.set(whole, resolution)
}

/** 8 bytes of read-only data that hold an address, as a GOT would. */
function pointerTo(symbol: GraphSymbol, value: Resolution | bigint, making: Making): Block {
  const key = keyOf(value, making)
  const known = making.pointers.get(key)
  if (known !== undefined) return known
  const content = new Uint8Array(8)
  const block = made(`pointer.${symbol.name}`, 'rodata', '.rodata.pointers', 8, content)
  if (typeof value === 'bigint') viewOf(content).setBigUint64(0, BigInt.asUintN(64, value), true)
  else addEdge(block, { offset: 0, kind: 'abs64', addend: 0, target: symbol }, value, making)
  making.pointers.set(key, block)
  making.made.push(block)
  return block
}

const STUB_ALIGNMENT = 16

export interface MadeBlock {
  readonly block: Block
  readonly resolutions: ReadonlyMap<Edge, Resolution>
}

/** Code of a few instructions that leads to `to`, which `symbol` names. */
export function fromTemplate(name: string, { content, edges }: StubTemplate, symbol: GraphSymbol, to: Resolution): MadeBlock {
  const block = made(name, 'code', '.text.stubs', STUB_ALIGNMENT, content.slice())
  const resolutions = new Map<Edge, Resolution>()
  for (const edge of edges) {
    const whole: Edge = { ...edge, size: EDGE_KINDS[edge.kind].size, target: symbol, origin: 'relocation', confidence: 1 }
    block.edges.push(whole)
    resolutions.set(whole, to)
  }
  return { block, resolutions }
}

/** A jump: through the slot of an import, the base image's or the patch's, or straight to a place in the base image. */
function stubTo(symbol: GraphSymbol, resolution: Resolution, making: Making, { through = false } = {}): Block {
  const isSlot = through || (resolution.to === 'base' && making.imports.has(resolution.rva))
  const key = `${isSlot ? 'through' : 'to'} ${keyOf(resolution, making)}`
  const known = making.stubs.get(key)
  if (known !== undefined) return known
  const template = isSlot ? making.linking.pointerStub : making.linking.jumpStub
  const { block, resolutions } = fromTemplate(`stub.${symbol.name}`, template, symbol, resolution)
  for (const [edge, to] of resolutions) making.resolutions.set(edge, to)
  making.stubs.set(key, block)
  making.made.push(block)
  return block
}
