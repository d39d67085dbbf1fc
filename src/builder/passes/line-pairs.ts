/** What the line tables of two builds say of one function: which line of the build after is which line of the build before. */
import { type CodePairing, pairedIndex } from '../../machine/pairing.ts'
import type { Block, SourceLines, SourceRow } from '../graph.ts'

/** A statement that both tables name at one instruction. */
export interface LinePair {
  /** Of the instruction in the pairing. */
  readonly index: number
  /** The file's path in the build before. */
  readonly file: string
  /** The line in each build. */
  readonly before: number
  readonly after: number
}

export interface LinePairs {
  /** By ascending index. */
  readonly all: readonly LinePair[]
  /** What is named for the instruction, and for those around it. */
  near(index: number): readonly LinePair[]
}

export interface LinedBlock {
  readonly block: Block
  readonly lines: SourceLines
}

/** Instructions to either side among which compilers shuffle those of a call. */
const AROUND = 16

export function linePairs(pairing: CodePairing, before: LinedBlock, after: LinedBlock): LinePairs {
  const ofAfter = new Map(groups(pairing, 'after', after).map((group) => [group.index, group.rows]))
  const pairs: LinePair[] = []
  for (const { index, rows } of groups(pairing, 'before', before)) {
    const others = ofAfter.get(index)
    // Rows of one place are in order; where there are more in one table, nothing tells which.
    if (others?.length !== rows.length) continue
    rows.forEach(({ file, line }, i) => {
      const other = others[i] as SourceRow
      if (line > 0 && other.line > 0 && sameFile(file, before.lines, other.file, after.lines))
        pairs.push({ index, file, before: line, after: other.line })
    })
  }
  return {
    all: pairs,
    near(index) {
      // The row that covers an instruction may begin long before it.
      const covering = pairs.findLast((pair) => pair.index <= index)?.index ?? index
      return pairs.filter((pair) => pair.index >= Math.min(covering, index - AROUND) && pair.index <= index + AROUND)
    },
  }
}

interface RowGroup {
  readonly index: number
  readonly rows: SourceRow[]
}

/** Rows by the instruction at which they begin, ascending. */
function groups(pairing: CodePairing, version: 'before' | 'after', { block, lines }: LinedBlock): RowGroup[] {
  const found: RowGroup[] = []
  for (const row of lines.rowsOf(block)) {
    const index = pairedIndex(pairing, version, row.offset)
    const last = found.at(-1)
    if (last?.index === index) last.rows.push(row)
    else found.push({ index, rows: [row] })
  }
  return found
}

/** One file, though the two builds may have been made in different folders. */
const sameFile = (file: string, lines: SourceLines, other: string, linesAfter: SourceLines): boolean =>
  file === other || within(file, lines.folder) === within(other, linesAfter.folder)

const within = (file: string, folder: string): string =>
  folder !== '' && file.startsWith(`${folder}/`) ? file.slice(folder.length + 1) : file
