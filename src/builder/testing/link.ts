/** A linker for tests: link graphs in, a base image out. Just enough of one that its bytes can be held against the objects. */
import { createHash } from 'node:crypto'
import { EDGE_KINDS } from '../../machine/edges.ts'
import type { BaseImage, BaseSection, BaseSymbol, ImportSlot, ThreadLocalData } from '../base-image.ts'
import type { Block, BlockKind, Edge, LinkGraph } from '../graph.ts'
import { tableSource, withSource } from '../symbol-source.ts'

export interface LinkOptions {
  readonly name?: string
  readonly format?: 'elf' | 'pe'
  readonly relocatable?: boolean
  /** Imported names with the binding of their slots. */
  readonly imports?: Readonly<Record<string, 'eager' | 'lazy'>>
  /** Names left in the symbol table; undefined: all. */
  readonly symbols?: 'all' | 'exported' | 'none'
  /** Names that other modules see. */
  readonly exported?: readonly string[]
  /** Names of blocks that are left out, as --gc-sections does. */
  readonly dropped?: readonly string[]
  /** `mov foo@GOTPCREL(%rip)` of defined symbols becomes `lea`. */
  readonly relax?: boolean
  /** Names of functions that are folded into another: identical code folding. */
  readonly folded?: Readonly<Record<string, string>>
  readonly isProgram?: boolean
  readonly threadLocal?: Partial<ThreadLocalData>
  /** Bytes changed after the link: by name and offset. */
  readonly damage?: readonly { readonly name: string; readonly offset: number; readonly value: number }[]
}

const STARTS: Readonly<Record<Exclude<BlockKind, 'unwind'>, number>> = {
  code: 0x1000,
  rodata: 0x8000,
  tls: 0xb000,
  data: 0xc000,
  bss: 0xe000,
}
const SLOTS = 0xf800
const STUBS = 0x7000
const IMAGE_SIZE = 0x10000
const STUB_SIZE = 16

const START_FILE: BaseSymbol = {
  name: 'frame_dummy',
  rva: 0x6ff0,
  size: 16,
  kind: 'function',
  binding: 'local',
  file: 'crtstuff.c',
  exported: false,
}

export interface Linked extends BaseImage {
  /** Where a named block lies. */
  rvaOf(name: string, path?: string): number
}

export function link(graphs: readonly LinkGraph[], options: LinkOptions = {}): Linked {
  const memory = new Uint8Array(IMAGE_SIZE)
  const view = new DataView(memory.buffer)
  const places = new Map<Block, number>()
  const next: Record<string, number> = { ...STARTS }
  const comdats = new Map<string, number>()
  for (const graph of graphs)
    for (const block of graph.blocks) {
      if (block.kind === 'unwind' || options.dropped?.includes(block.name)) continue
      const kept = block.comdat === undefined ? undefined : comdats.get(block.comdat)
      if (kept !== undefined) {
        places.set(block, kept)
        continue
      }
      const host = options.folded?.[block.name]
      const folded = host === undefined ? undefined : [...places].find(([b]) => b.name === host)?.[1]
      if (folded !== undefined) {
        places.set(block, folded)
        continue
      }
      const at = Math.ceil((next[block.kind] as number) / block.alignment) * block.alignment
      places.set(block, at)
      if (block.comdat !== undefined) comdats.set(block.comdat, at)
      next[block.kind] = at + block.size
      if (block.content !== undefined) memory.set(block.content, at)
    }

  const slots: ImportSlot[] = Object.entries(options.imports ?? {}).map(([name, binding], i) => ({
    name,
    binding,
    library: options.format === 'pe' ? 'lib.dll' : undefined,
    rva: SLOTS + 8 * i,
  }))
  slots.forEach((slot, i) => {
    const stub = STUBS + STUB_SIZE * i
    memory.set([0xff, 0x25], stub)
    view.setInt32(stub + 2, slot.rva - (stub + 6), true)
  })
  const globals = new Map<string, number>()
  for (const graph of graphs)
    for (const symbol of graph.symbols)
      if (symbol.block !== undefined && symbol.binding !== 'local' && places.has(symbol.block))
        globals.set(symbol.name, (places.get(symbol.block) as number) + symbol.offset)
  const gots = new Map<string, number>()
  let nextGot = SLOTS + 8 * slots.length
  const relocated = new Set<number>()

  const apply = (at: number, edge: Edge): void => {
    const place = at + edge.offset
    const own = edge.target.block === undefined ? undefined : places.get(edge.target.block)
    const slotIndex = slots.findIndex((s) => s.name === edge.target.name)
    const defined = own === undefined ? globals.get(edge.target.name) : own + edge.target.offset
    const target = defined ?? (slotIndex < 0 ? undefined : STUBS + STUB_SIZE * slotIndex)
    if (edge.kind === 'gotpcrel32') {
      const opcode = memory[place - 2]
      if (options.relax && defined !== undefined && opcode === 0x8b) {
        memory[place - 2] = 0x8d
        view.setInt32(place, defined + edge.addend - place, true)
        return
      }
      const key = edge.target.name
      const got = slotIndex >= 0 ? (slots[slotIndex] as ImportSlot).rva : (gots.get(key) ?? nextGot)
      if (slotIndex < 0 && !gots.has(key)) {
        gots.set(key, got)
        nextGot += 8
      }
      view.setInt32(place, got + edge.addend - place, true)
      return
    }
    if (target === undefined) return
    if (edge.kind === 'abs64') relocated.add(place)
    else if (edge.kind === 'secrel32') view.setInt32(place, target + edge.addend - STARTS.tls, true)
    else if (edge.kind === 'abs32' || edge.kind === 'abs32s') view.setUint32(place, target + edge.addend, true)
    else if (EDGE_KINDS[edge.kind].pcRelative && edge.size === 4) view.setInt32(place, target + edge.addend - place, true)
  }
  for (const graph of graphs)
    for (const block of graph.blocks) {
      const at = places.get(block)
      if (at === undefined) continue
      if (block.comdat !== undefined && graphs.find((g) => g.blocks.some((b) => b.comdat === block.comdat)) !== graph) continue
      for (const edge of block.edges) apply(at, edge)
    }
  for (const { name, offset, value } of options.damage ?? []) {
    const [block, at] = [...places].find(([b]) => b.name === name) ?? []
    if (block !== undefined && at !== undefined) memory[at + offset] = value
  }

  const symbols: BaseSymbol[] = []
  // Start files bring local functions into every program that is not stripped.
  if (options.symbols === undefined || options.symbols === 'all') symbols.push({ ...START_FILE })
  for (const graph of graphs)
    for (const symbol of graph.symbols) {
      const at = symbol.block === undefined ? undefined : places.get(symbol.block)
      if (at === undefined || symbol.kind === 'section' || options.symbols === 'none') continue
      const exported = options.exported?.includes(symbol.name) ?? false
      if (options.symbols === 'exported' && !exported) continue
      if (symbol.binding !== 'local' && symbols.some((s) => s.name === symbol.name && s.binding !== 'local')) continue
      symbols.push({
        name: symbol.name,
        rva: at + symbol.offset,
        size: symbol.size,
        kind: symbol.kind,
        // Hidden from other modules, a symbol is local once it is linked.
        binding: symbol.hidden ? 'local' : symbol.binding,
        file: symbol.binding === 'local' ? graph.sourceFile : undefined,
        exported,
      })
    }
  const kinds: readonly [Exclude<BlockKind, 'unwind'>, number, number][] = [
    ['code', STARTS.code, STARTS.rodata],
    ['rodata', STARTS.rodata, STARTS.tls],
    ['tls', STARTS.tls, STARTS.data],
    ['data', STARTS.data, STARTS.bss],
    ['bss', STARTS.bss, IMAGE_SIZE],
  ]
  const sections: BaseSection[] = kinds.map(([kind, from, to]) => ({ name: `.${kind}`, kind, rva: from, size: to - from }))
  return {
    path: `/somewhere/${options.name ?? 'base'}`,
    name: options.name ?? 'base',
    format: options.format ?? 'elf',
    machine: 'x64',
    identity: {
      timeDateStamp: 0x11223344,
      checkSum: 0x55667788,
      buildId: '00112233445566778899aabbccddeeff00112233',
      textSha256: createHash('sha256').update(memory.subarray(STARTS.code, STARTS.rodata)).digest(),
    },
    preferredBase: 0n,
    relocatable: options.relocatable ?? true,
    imageSize: IMAGE_SIZE,
    sections,
    ...withSource(tableSource(symbols)),
    importSlots: slots,
    isProgram: options.isProgram ?? false,
    threadLocal: { rva: STARTS.tls, fromThreadPointer: undefined, slots: [], ...options.threadLocal },
    needed: [],
    searchPaths: [],
    bytes: (rva, length) => (rva < STARTS.code || rva + length > STARTS.bss ? undefined : memory.slice(rva, rva + length)),
    isRelocated: (rva) => relocated.has(rva),
    rvaOf(name, path) {
      for (const graph of graphs) {
        if (path !== undefined && graph.path !== path) continue
        for (const block of graph.blocks) if (block.name === name && places.has(block)) return places.get(block) as number
      }
      throw new Error(`${name} was not linked`)
    },
  }
}
