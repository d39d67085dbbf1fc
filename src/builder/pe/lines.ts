/** The line table of a COFF object with DWARF (mingw's compilers). */
import { debugSection } from '../../binary/coff/line-sections.ts'
import type { CoffObject } from '../../binary/coff/reader.ts'
import type { Block, SourceLines } from '../graph.ts'
import { type BlockPlace, sourceLines } from '../source-lines.ts'

/** undefined: compiled without -g. */
export function coffLines(object: CoffObject, places: ReadonlyMap<Block, BlockPlace>): SourceLines | undefined {
  if (!object.sections.some(({ name }) => name === '.debug_line')) return undefined
  return sourceLines(
    () => {
      const line = debugSection(object, '.debug_line')
      return line && { line, lineStrings: debugSection(object, '.debug_line_str'), strings: debugSection(object, '.debug_str') }
    },
    (block) => places.get(block),
  )
}
