/** The line table of an ELF object. */
import { debugSection } from '../../binary/elf/line-sections.ts'
import type { ElfFile } from '../../binary/elf/reader.ts'
import type { Block, SourceLines } from '../graph.ts'
import { type BlockPlace, sourceLines } from '../source-lines.ts'
import type { CutSection } from './pieces.ts'

/** undefined: compiled without -g. */
export function elfLines(elf: ElfFile, cut: Iterable<CutSection>): SourceLines | undefined {
  if (!elf.sections.some(({ name }) => name === '.debug_line')) return undefined
  const places = new Map<Block, BlockPlace>()
  for (const { kept, starts, blocks } of cut)
    if (kept.kind === 'code')
      for (const [i, block] of blocks.entries()) places.set(block, { section: kept.section.index, offset: starts[i] as number })
  return sourceLines(
    () => {
      const line = debugSection(elf, '.debug_line')
      return line && { line, lineStrings: debugSection(elf, '.debug_line_str'), strings: debugSection(elf, '.debug_str') }
    },
    (block) => places.get(block),
  )
}
