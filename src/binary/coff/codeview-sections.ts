/** CodeView in COFF objects: MSVC's and clang's for windows-msvc. */
import type { CodeViewSections } from '../codeview/debug-types.ts'
import type { CoffObject, CoffSection } from './reader.ts'

/** undefined: the object has no `.debug$T`. */
export function codeViewSections(object: CoffObject): CodeViewSections | undefined {
  const types = object.sections.find(({ name }) => name === '.debug$T')?.content
  if (types === undefined) return undefined
  const names = new Map(object.symbols.map(({ index, name }) => [index, name]))
  const symbols = object.sections.flatMap((section) =>
    section.name === '.debug$S' && section.content ? [symbolsOf(section, section.content, names)] : [],
  )
  return { types, symbols }
}

function symbolsOf(
  { relocations }: CoffSection,
  content: Uint8Array,
  names: ReadonlyMap<number, string>,
): CodeViewSections['symbols'][number] {
  const places = new Map(relocations.map(({ offset, symbolIndex }) => [offset, names.get(symbolIndex)]))
  return { content, nameAt: (offset) => places.get(offset) }
}
