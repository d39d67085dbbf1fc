/** What a patch image has that no object had: pointers, pairs, stubs. Each is made once. */
import { viewOf } from '../../../binary/struct.ts'
import type { Linking, StubTemplate } from '../../../machine/architecture.ts'
import { EDGE_KINDS } from '../../../machine/edges.ts'
import type { BaseImage, ImportSlot } from '../../base-image.ts'
import type { Block, Edge, GraphSymbol } from '../../graph.ts'
import type { Libraries } from '../../libraries.ts'
import type { Resolution } from '../../plan.ts'
import type { Reach } from '../thread-local.ts'
import type { Place } from './copies.ts'

export interface Making {
  readonly base: BaseImage
  readonly linking: Linking
  readonly libraries: Libraries
  readonly places: ReadonlyMap<Block, Place>
  readonly resolutions: Map<Edge, Resolution>
  /** 8-byte pointers and stubs that were made, by what they lead to. */
  readonly pointers: Map<string, Block>
  readonly stubs: Map<string, Block>
  /** Numbers of modules, by the function of the build after whose variables lie in their blocks. */
  readonly indexes: Map<Block, Block>
  readonly made: Block[]
  readonly imports: Map<number, ImportSlot>
  readonly numbers: Map<Block, number>
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

export const made = (name: string, kind: Block['kind'], section: string, alignment: number, content: Uint8Array): Block => ({
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
export function pointerTo(symbol: GraphSymbol, value: Resolution | bigint, making: Making): Block {
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

/** What `__tls_get_addr` reads: the module's number, as the base image's loader has it, and the offset in its block. */
export function pairOf(symbol: GraphSymbol, { moduleRva, offset }: Reach & { by: 'own-pair' }, making: Making): Block {
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

/** 8 bytes that the engine fills with a distance. */
export function distanceOf(symbol: GraphSymbol, to: Resolution & { to: 'patch' }, making: Making): Block {
  const key = `distance ${keyOf(to, making)}`
  const known = making.pointers.get(key)
  if (known !== undefined) return known
  const block = made(`distance.${symbol.name}`, 'rodata', '.rodata.pointers', 8, new Uint8Array(8))
  addEdge(block, { offset: 0, kind: 'tpoff64', addend: 0, target: symbol }, to, making)
  making.pointers.set(key, block)
  making.made.push(block)
  return block
}

/** 4 bytes that the engine fills with the number of the module in whose block a function's variables lie. */
export function moduleIndexOf(
  symbol: GraphSymbol,
  unit: Block,
  variables: readonly (Resolution & { to: 'patch' })[],
  making: Making,
): Block {
  const known = making.indexes.get(unit)
  if (known !== undefined) return known
  const block = made(`index.${unit.name}`, 'rodata', '.rodata.pointers', 4, new Uint8Array(4))
  for (const to of variables) addEdge(block, { offset: 0, kind: 'tlsindex32', addend: 0, target: symbol }, to, making)
  making.indexes.set(unit, block)
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
export function stubTo(symbol: GraphSymbol, resolution: Resolution, making: Making, { through = false } = {}): Block {
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
