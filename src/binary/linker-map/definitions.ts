/** What a linker map says, whichever linker wrote it. */

export interface LinkerMap {
  readonly kind: 'gnu' | 'lld' | 'lld-pe' | 'msvc'
  /** What addresses count from: 0 as the format has them, 'image' the start of the image. */
  readonly addresses: 'absolute' | 'image'
  /** Sections of the image. */
  readonly sections: readonly MapSection[]
  readonly symbols: readonly MapSymbol[]
  /** Whether functions and variables that only their own file sees are all in it, under the linker's names. */
  readonly hasStatics: boolean
  /** Seconds since 1970 that the image's header has, too; undefined: the map does not say. */
  readonly timestamp: number | undefined
  /** The address that the image was linked for; undefined: the map does not say. */
  readonly imageBase: number | undefined
}

export interface MapSection {
  /** Empty where only the place is known. */
  readonly name: string
  readonly address: number
  readonly size: number
}

export interface MapSymbol {
  readonly name: string
  readonly address: number
  /** 0 where the map does not say. */
  readonly size: number
  /** unknown: the map has globals and statics in one list. */
  readonly binding: 'global' | 'local' | 'unknown'
}
