/**
 * The types of a program as debug information tells them, whichever format it has: what layouts, signatures and the use of variables are
 * compared by. Qualifiers (const, volatile) are left out, and typedefs are seen through: neither changes where anything lies.
 */

export type TypeRef =
  | { readonly kind: 'void' }
  | {
      readonly kind: 'base'
      readonly name: string
      readonly size: number
      readonly encoding: BaseEncoding
    }
  | { readonly kind: 'pointer'; readonly size: number; readonly to: TypeRef }
  | {
      readonly kind: 'array'
      readonly of: TypeRef /** undefined: not known, or it varies. */
      readonly count: number | undefined
    }
  | FunctionType
  /** A struct, class, union or enum that has a name, perhaps that of its typedef only: see `DebugTypes.definition`. */
  | {
      readonly kind: 'named'
      readonly key: string /** Bytes; undefined: declared only. */
      readonly size: number | undefined
    }
  | { readonly kind: 'unnamed'; readonly type: TypeDefinition }
  /** What has no layout that could be compared: decltype(nullptr), a type that the file has lost. */
  | {
      readonly kind: 'other'
      readonly name: string
      readonly size: number | undefined
    }

export type BaseEncoding = 'signed' | 'unsigned' | 'float' | 'boolean' | 'other'

export interface FunctionType {
  readonly kind: 'function'
  readonly returns: TypeRef
  readonly parameters: readonly TypeRef[]
  readonly variadic: boolean
}

export type TypeDefinition = Aggregate | Enumeration

export interface Aggregate {
  readonly kind: 'struct' | 'class' | 'union'
  /** As in `named`; undefined for one that has no name. */
  readonly key: string | undefined
  /** Bytes. */
  readonly size: number
  /** As the source has them; what it inherits comes first. */
  readonly members: readonly Member[]
  /** Virtual functions that it declares, with their place in the virtual table. */
  readonly virtuals: readonly {
    readonly name: string
    readonly slot: number | undefined
  }[]
}

export interface Member {
  /** undefined: an unnamed struct or union. */
  readonly name: string | undefined
  readonly type: TypeRef
  /** Bits from the start of the aggregate; undefined: found at run time (virtual inheritance). */
  readonly bitOffset: number | undefined
  /** Bits; undefined: not known. 0: a flexible array. */
  readonly bitSize: number | undefined
  readonly bitField: boolean
  readonly inherited: boolean
}

export interface Enumeration {
  readonly kind: 'enum'
  readonly key: string | undefined
  /** Bytes. */
  readonly size: number
  /** Beyond 2^53 rounded. */
  readonly values: readonly (readonly [name: string, value: number])[]
}

/** A function with code, or one that is declared only. */
export interface FunctionInfo {
  /** The linker's name but for compilers' suffixes (`.constprop.0`). */
  readonly name: string
  readonly type: FunctionType
  /** Known beyond its source file. */
  readonly external: boolean
  /** Whether there is code for it that stands on its own. */
  readonly code: boolean
  /** Parameters and variables of its code, those of functions inlined there included. */
  variables(): readonly VariableInfo[]
}

export interface VariableInfo {
  readonly name: string
  readonly type: TypeRef
  /**
   * static: one for the process; thread: one for each thread; frame: in the frame or registers of the function; parameter: the same, and its
   * value comes from a caller (of an inlined function, from the same frame).
   */
  readonly storage: 'static' | 'thread' | 'frame' | 'parameter'
  /** Declared here, defined elsewhere. */
  readonly declared: boolean
}

/** The debug information of one object. Parsed when first asked; everything throws TRUNCATED or MALFORMED for damaged data. */
export interface DebugTypes {
  readonly format: 'dwarf' | 'codeview'
  /**
   * undefined: types are those of this object. Else what it has them in common with others in (a PDB, in words that tell it from every other):
   * types are then those of all these objects, whichever this one knows.
   */
  readonly shared: string | undefined
  /**
   * Of types with a definition: `struct conn`, `enum state`, `union data`, `pair_t` (by its typedef), `struct ns::inner`. Always the same list, and one
   * list for all that have the same types in common.
   */
  readonly keys: readonly string[]
  /**
   * Equal for definitions of equal layout, members' names included. Of several definitions of one key, all are in it.
   * undefined: there is none.
   */
  fingerprint(key: string): string | undefined
  /** Several where one object has different types of one name (local ones of functions). */
  definitions(key: string): readonly TypeDefinition[]
  functions(): readonly FunctionInfo[]
  /** Static and thread-local variables at whatever depth, declared ones too. */
  variables(): readonly VariableInfo[]
}
