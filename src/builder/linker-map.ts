/** Symbols of a base image from a linker map, where nothing else is there. */
import type { LinkerMap } from '../binary/linker-map/definitions.ts'
import { readLinkerMap } from '../binary/linker-map/reader.ts'
import type { BaseSection } from './base-image.ts'
import type { NotItsOwn, SymbolFile } from './symbol-source.ts'

/** What a map must agree with to be an image's. */
export interface MappedImage {
  /** The address that the image was linked for. */
  readonly base: number
  readonly sections: readonly Pick<BaseSection, 'name' | 'rva' | 'size' | 'kind'>[]
  /** PE's time stamp. */
  readonly timestamp?: number
  /** What GNU ld rounds sections' sizes up to in its map: 1 for ELF, the file's alignment for PE. */
  readonly rounding: number
}

export interface PlacedSymbol {
  readonly name: string
  readonly rva: number
  readonly size: number
  readonly binding: 'global' | 'local'
}

export interface FittingMap {
  readonly symbols: readonly PlacedSymbol[]
  lacks(name: string, isLocal: boolean): boolean
}

/** undefined: the file is no linker map. */
export function fittingMap(file: SymbolFile, image: MappedImage): FittingMap | NotItsOwn | undefined {
  const map = readLinkerMap(file.data)
  if (map === undefined) return undefined
  const why = mismatch(map, image)
  if (why !== undefined) return { why }
  const start = map.addresses === 'image' ? 0 : image.base
  const end = Math.max(0, ...image.sections.map((s) => s.rva + s.size))
  const known = new Map<string, number>()
  for (const { name } of map.symbols) known.set(name, (known.get(name) ?? 0) + 1)
  const symbols = map.symbols.flatMap(({ name, address, size, binding }): PlacedSymbol[] => {
    const rva = address - start
    if (rva <= 0 || rva >= end) return []
    if (binding !== 'unknown') return [{ name, rva, size, binding }]
    // A name that several things have is a static's; one that stands alone may be either.
    const local = { name, rva, size, binding: 'local' } as const
    return known.get(name) === 1 ? [{ ...local, binding: 'global' }, local] : [local]
  })
  return { symbols, lacks: (_name, isLocal) => !isLocal || map.hasStatics }
}

function mismatch(map: LinkerMap, image: MappedImage): string | undefined {
  if (map.kind === 'msvc') {
    if (map.imageBase !== image.base) return `the map is of an image linked for 0x${(map.imageBase ?? 0).toString(16)}`
    return map.timestamp !== undefined && image.timestamp !== undefined && map.timestamp !== image.timestamp
      ? 'the map has another time stamp'
      : undefined
  }
  const start = map.addresses === 'image' ? 0 : image.base
  const code = image.sections.filter((s) => s.kind === 'code' && s.size > 0)
  const rounding = map.kind === 'gnu' ? image.rounding : 1
  const placed = ({ name, rva, size }: MappedImage['sections'][number]): boolean =>
    map.sections.some((m) => m.name === name && m.address - start === rva && m.size >= size && m.size - size < rounding)
  const other = code.find((section) => !placed(section))
  if (code.length === 0) return 'the image has no code to hold the map against'
  return other === undefined ? undefined : `the map has ${other.name} at another place or of another size`
}
