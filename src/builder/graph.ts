/**
 * The link graph: what the builder thinks in. Front ends make it from object files; passes correlate, compare and select;
 * back ends write it. It knows no file format. The shape follows LLVM's JITLink: blocks, symbols, edges.
 */
import type { DebugTypes } from '../binary/types/model.ts'
import type { Machine } from '../machine/architecture.ts'
import type { EdgeKind } from '../machine/edges.ts'

export type { Machine } from '../machine/architecture.ts'

export type BlockKind =
  | 'code'
  | 'rodata'
  | 'data'
  | 'bss'
  /** Thread-local data, initialised or zero. */
  | 'tls'
  /** A record of unwind data: an ELF CIE or FDE, a COFF .pdata or .xdata record. Travels with the function it describes. */
  | 'unwind'

/** What moves as a unit: a function, a variable, a string, an unwind record. */
export interface Block {
  /** The name of its first symbol that a person would know, else the section's name with the offset (`.rodata+0x40`). */
  readonly name: string
  readonly kind: BlockKind
  /** The section of the object file it came from, or of the synthesis that made it. */
  readonly section: string
  readonly alignment: number
  /** Bytes, also where `content` is undefined. */
  readonly size: number
  /** undefined: all zero (bss). Relocated fields hold zero: the addend is in the edge. */
  readonly content: Uint8Array | undefined
  /** By ascending offset. */
  readonly edges: Edge[]
  /** Symbols that lie in the block, by ascending offset. */
  readonly symbols: GraphSymbol[]
  /** Blocks that must come along when this one does (a function's unwind records). */
  readonly companions: Block[]
  /** Mergeable constants: what identity means for them is their bytes, never their address. */
  readonly constant: 'strings' | 'fixed' | undefined
  /** The COMDAT or group signature, where the linker keeps one of many. */
  readonly comdat: string | undefined
  /** Blocks that are not cut further and keep their distance (a section without symbols). undefined: it stands alone. */
  readonly group: string | undefined
  /** Where the block lies from the start of its group, which is laid out whole and aligned as its most aligned member. */
  readonly groupOffset?: number
  /** Where the block lies when it was found in a linked image rather than in an object. */
  readonly imageRva: number | undefined
}

export interface GraphSymbol {
  /** The linker's name; for a section symbol or an anonymous target the section's name. */
  readonly name: string
  /** undefined: defined elsewhere (or absolute, see `absolute`). */
  readonly block: Block | undefined
  /** From the start of the block. */
  readonly offset: number
  readonly size: number
  readonly binding: 'local' | 'global' | 'weak'
  readonly kind: 'function' | 'object' | 'tls' | 'section' | 'ifunc' | 'none'
  readonly hidden: boolean
  /** The value of an absolute symbol. */
  readonly absolute: bigint | undefined
}

/**
 * A reference from a field of a block to a symbol. The value conventions are ELF's, whatever the format was:
 * S = address of target + addend, P = address of the field; a PC-relative field holds S + addend - P (so that the usual addend
 * of a 4-byte field at the end of its instruction is -4).
 */
export interface Edge {
  /** Of the field, from the start of the block. */
  readonly offset: number
  /** Of the field, in bytes. */
  readonly size: number
  readonly kind: EdgeKind
  readonly target: GraphSymbol
  readonly addend: number
  readonly origin: 'relocation' | 'decoded'
  /** 1 for a relocation; less where decoding had to infer. */
  readonly confidence: number
}

export interface LinkGraph {
  /** The object's path relative to the folder given, or `archive.a(member.o)`. */
  readonly path: string
  /** The source file's name as the compiler recorded it (STT_FILE, .file), where it did. */
  readonly sourceFile: string | undefined
  readonly machine: Machine
  readonly format: 'elf' | 'coff'
  readonly blocks: Block[]
  /** Every symbol once, external ones too. */
  readonly symbols: GraphSymbol[]
  /** What the front end could not represent, said once per kind (e.g. a section that is neither code nor data). */
  readonly notes: string[]
  /** undefined: the compiler left no record of where code came from. */
  readonly lines?: SourceLines
  /** What its debug information says about types; gives undefined where it has none. Parsed at the first call. Throws TRUNCATED, MALFORMED. */
  readonly types?: (() => DebugTypes | undefined) | undefined
  /** Why `types` gives undefined, in a half-sentence, where more is known than that there are none. */
  readonly whyNoTypes?: (() => string | undefined) | undefined
}

/** From which lines code was made, by the compiler's own record. Read when first asked for. */
export interface SourceLines {
  /** Rows that begin in the block, by ascending offset; more than one may begin at one offset. Empty where nothing is known. */
  rowsOf(block: Block): readonly SourceRow[]
  /** Folder in which the compiler ran; '' where that is not known. */
  readonly folder: string
}

/** From `offset` up to the next row's, code was made from this line. */
export interface SourceRow {
  /** From the start of the block. */
  readonly offset: number
  /** As the compiler was given it: relative to `folder`, or absolute. */
  readonly file: string
  /** From 1; 0: from no line. */
  readonly line: number
  /** From 1; 0: not known. */
  readonly column: number
}
