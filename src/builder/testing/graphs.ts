/** Link graphs for tests, without a compiler: blocks by name, edges by the names they lead to. */
import { EDGE_KINDS, type EdgeKind } from '../../machine/edges.ts'
import type { Block, BlockKind, Edge, GraphSymbol, LinkGraph } from '../graph.ts'
import type { LazyGraph, ObjectPair, Program } from '../program.ts'

export interface EdgeSpec {
  readonly at: number
  readonly kind: EdgeKind
  /** A block or symbol of the object, else something external. */
  readonly to: string
  /** Default: what makes a PC-relative field at the end of its instruction lead to the symbol itself. */
  readonly addend?: number
  /** Of an external symbol. */
  readonly weak?: boolean
}

export interface BlockSpec {
  readonly name: string
  readonly kind?: BlockKind
  readonly section?: string
  /** Bytes, or a number of zeros. */
  readonly content: readonly number[] | Uint8Array | number | string
  readonly edges?: readonly EdgeSpec[]
  readonly binding?: GraphSymbol['binding']
  readonly hidden?: boolean
  readonly symbolKind?: GraphSymbol['kind']
  /** Of the symbol, from the start of the block: padding before a function. */
  readonly entry?: number
  /** No symbol but the section's: a jump table, a literal. */
  readonly anonymous?: boolean
  readonly constant?: Block['constant']
  readonly comdat?: string
  readonly group?: string
  readonly alignment?: number
  readonly companions?: readonly string[]
  /** More names for the same place. */
  readonly aliases?: readonly string[]
  /** More symbols at other offsets. */
  readonly inner?: readonly { readonly name: string; readonly offset: number }[]
}

export interface ObjectSpec {
  readonly path: string
  readonly sourceFile?: string
  readonly format?: 'elf' | 'coff'
  readonly blocks: readonly BlockSpec[]
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const bytesOf = (content: BlockSpec['content']): Uint8Array | undefined => {
  if (typeof content === 'number') return undefined
  return typeof content === 'string' ? Uint8Array.from([...Buffer.from(content, 'latin1'), 0]) : Uint8Array.from(content)
}

const SYMBOL_KINDS: Readonly<Record<BlockKind, GraphSymbol['kind']>> = {
  code: 'function',
  rodata: 'object',
  data: 'object',
  bss: 'object',
  tls: 'tls',
  unwind: 'none',
}

const SECTIONS: Readonly<Record<BlockKind, string>> = {
  code: '.text',
  rodata: '.rodata',
  data: '.data',
  bss: '.bss',
  tls: '.tdata',
  unwind: '.eh_frame',
}

function makeBlock(spec: BlockSpec): Block {
  const content = bytesOf(spec.content)
  const kind = spec.kind ?? 'code'
  return {
    name: spec.name,
    kind,
    section: spec.section ?? (spec.anonymous ? SECTIONS[kind] : `${SECTIONS[kind]}.${spec.name}`),
    alignment: spec.alignment ?? (kind === 'code' ? 16 : 8),
    size: content?.length ?? (spec.content as number),
    content,
    edges: [],
    symbols: [],
    companions: [],
    constant: spec.constant,
    comdat: spec.comdat,
    group: spec.group,
    imageRva: undefined,
  }
}

export function object(spec: ObjectSpec): LinkGraph {
  const blocks = spec.blocks.map(makeBlock)
  const symbols = new Map<string, GraphSymbol>()
  spec.blocks.forEach((b, i) => {
    const block = blocks[i] as Block
    const entry = b.entry ?? 0
    const symbol = (name: string, offset: number): GraphSymbol => ({
      name,
      block,
      offset,
      size: block.size - offset,
      binding: b.anonymous ? 'local' : (b.binding ?? 'global'),
      kind: b.anonymous ? 'section' : (b.symbolKind ?? SYMBOL_KINDS[block.kind]),
      hidden: b.hidden ?? false,
      absolute: undefined,
    })
    for (const name of [b.name, ...(b.aliases ?? [])]) symbols.set(name, symbol(name, entry))
    for (const { name, offset } of b.inner ?? []) symbols.set(name, symbol(name, offset))
  })
  for (const s of symbols.values()) s.block?.symbols.push(s)
  const externals = new Map<string, GraphSymbol>()
  const target = ({ to, weak }: EdgeSpec): GraphSymbol => {
    const known = symbols.get(to) ?? externals.get(to)
    if (known !== undefined) return known
    const made: GraphSymbol = {
      name: to,
      block: undefined,
      offset: 0,
      size: 0,
      binding: weak ? 'weak' : 'global',
      kind: 'none',
      hidden: false,
      absolute: undefined,
    }
    externals.set(to, made)
    return made
  }
  spec.blocks.forEach((b, i) => {
    const block = blocks[i] as Mutable<Block>
    for (const e of b.edges ?? []) {
      const { size, pcRelative } = EDGE_KINDS[e.kind]
      const edge: Edge = {
        offset: e.at,
        size,
        kind: e.kind,
        target: target(e),
        addend: e.addend ?? (pcRelative && block.kind !== 'unwind' ? -size : 0),
        origin: 'relocation',
        confidence: 1,
      }
      block.edges.push(edge)
    }
    block.edges.sort((x, y) => x.offset - y.offset)
    for (const name of b.companions ?? []) block.companions.push(blocks[spec.blocks.findIndex((c) => c.name === name)] as Block)
  })
  return {
    path: spec.path,
    sourceFile: spec.sourceFile ?? spec.path.replace(/\.o$/, '.c'),
    machine: 'x64',
    format: spec.format ?? 'elf',
    blocks,
    symbols: [...symbols.values(), ...externals.values()],
    notes: [],
  }
}

/** Two builds, paired by path. An object that is the same object in both counts as identical. */
export function program(before: readonly LinkGraph[], after: readonly LinkGraph[]): Program {
  const pairs: ObjectPair[] = []
  const identical: LazyGraph[] = []
  for (const path of [...new Set([...before, ...after].map((g) => g.path))].sort()) {
    const b = before.find((g) => g.path === path)
    const a = after.find((g) => g.path === path)
    if (b !== undefined && b === a)
      identical.push({ path, graph: () => b, mentions: (names) => b.symbols.some((s) => names.includes(s.name)) })
    else pairs.push({ path, before: b, after: a })
  }
  const objects = { before: before.length, after: after.length }
  return { pairs, identical, notes: [], objects, refusalOfTypes: () => 'it was not looked into' }
}

/** A field for a relocation: zero in the object. */
export const FIELD32: readonly number[] = [0, 0, 0, 0]
export const FIELD64: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0]

/** A function of one piece: `push rbp; mov rbp, rsp`, the body, `leave; ret`. Edges count from the start of the body. */
export const PROLOGUE: readonly number[] = [0x55, 0x48, 0x89, 0xe5]
export function code(name: string, body: readonly number[], edges: readonly EdgeSpec[] = [], rest: Partial<BlockSpec> = {}): BlockSpec {
  return {
    name,
    content: [...PROLOGUE, ...body, 0xc9, 0xc3],
    edges: edges.map((e) => ({ ...e, at: e.at + PROLOGUE.length })),
    ...rest,
  }
}

/** `mov eax, value` */
export const moveImmediate = (value: number): number[] => [
  0xb8,
  value & 0xff,
  (value >> 8) & 0xff,
  (value >> 16) & 0xff,
  (value >> 24) & 0xff,
]
/** `call rel32`; its field is at 1. */
export const CALL: readonly number[] = [0xe8, ...FIELD32]
/** `lea rax, [rip+rel32]`; its field is at 3. */
export const LEA: readonly number[] = [0x48, 0x8d, 0x05, ...FIELD32]
/** `mov rax, [rip+rel32]`; its field is at 3. */
export const LOAD: readonly number[] = [0x48, 0x8b, 0x05, ...FIELD32]
/** `call [rip+rel32]`; its field is at 2. */
export const CALL_INDIRECT: readonly number[] = [0xff, 0x15, ...FIELD32]
