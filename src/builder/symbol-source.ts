/** Where the symbols of a base image come from: its own table, or a file beside it. */
import type { BaseImage, BaseSymbol } from './base-image.ts'

export interface SymbolSource {
  /** The file beside the image; undefined: the image has its symbols itself, as far as it has any. */
  readonly path: string | undefined
  readonly symbols: readonly BaseSymbol[]
  /**
   * Whether a name that is missing here is really not in the image. `isLocal`: it is one that only its own object sees.
   * A stripped image has only what it exports, `strip -x` leaves no local functions.
   */
  lacks(name: string, isLocal: boolean): boolean
}

/** A file with symbols that a person gave, or that lies where such files do. */
export interface SymbolFile {
  readonly path: string
  readonly data: Uint8Array
}

/** How a symbol file answers that it is not the image's: a half-sentence. */
export interface NotItsOwn {
  readonly why: string
}

/** Of a symbol table as linkers write them: all or, stripped, nothing. */
export function tableSource(symbols: readonly BaseSymbol[], path?: string): SymbolSource {
  const hasGlobals = symbols.some((s) => !s.exported)
  const hasLocals = symbols.some((s) => s.binding === 'local' && (s.kind === 'function' || s.file !== undefined))
  return { path, symbols, lacks: (_name, isLocal) => (isLocal ? hasLocals : hasGlobals) }
}

/** A source's part in a base image. */
export const withSource = ({ path, symbols, lacks }: SymbolSource): Pick<BaseImage, 'symbols' | 'symbolFile' | 'lacks'> => ({
  symbols,
  symbolFile: path,
  lacks,
})

/** What an image says of the file that its symbols may lie in, and how such a file is read. */
export interface SeparateSymbols {
  /** Paths within a folder of symbols, best first. */
  readonly names: readonly string[]
  /** Where the system and the linker put such files. */
  readonly places: readonly string[]
  /** Symbols that the image has in itself, in another form than its table. undefined: none. Throws what the readers throw. */
  embedded(): SymbolSource | undefined
  /** Throws what the readers throw. */
  read(file: SymbolFile): SymbolSource | NotItsOwn
}
