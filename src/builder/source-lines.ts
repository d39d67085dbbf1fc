/** Line tables as the passes see them: from places of an object's sections to rows of blocks. */
import { type LineSections, readLinePrograms } from '../binary/dwarf/debug-line.ts'
import { sectionAt } from '../binary/section-places.ts'
import { HotpatchError } from '../errors.ts'
import type { Block, SourceLines, SourceRow } from './graph.ts'

/** Where a block begins in its object. */
export interface BlockPlace {
  /** The section's number, as its format counts. */
  readonly section: number
  readonly offset: number
}

/**
 * The lines of an object. `read` gives its sections, relocated; undefined where it has none. A damaged table tells nothing: what needs it
 * counts as not proven.
 */
export function sourceLines(read: () => LineSections | undefined, placeOf: (block: Block) => BlockPlace | undefined): SourceLines {
  let table: Table | undefined
  const open = (): Table => {
    table ??= tableOf(read)
    return table
  }
  return {
    get folder() {
      return open().folder
    },
    rowsOf(block) {
      const place = placeOf(block)
      if (place === undefined) return []
      const end = place.offset + block.size
      return (open().rows.get(place.section) ?? [])
        .filter((row) => row.offset >= place.offset && row.offset < end)
        .map((row) => ({ ...row, offset: row.offset - place.offset }))
    },
  }
}

interface Table {
  readonly folder: string
  /** By section, ascending; offsets from the section's start. */
  readonly rows: ReadonlyMap<number, readonly SourceRow[]>
}

function tableOf(read: () => LineSections | undefined): Table {
  const rows = new Map<number, SourceRow[]>()
  let folder = ''
  try {
    const sections = read()
    for (const program of sections === undefined ? [] : readLinePrograms(sections)) {
      folder ||= program.folders[0] ?? ''
      for (const { rows: ofSequence, end } of program.sequences)
        for (const { address, file, line, column } of ofSequence) {
          const place = address < end ? sectionAt(address) : undefined
          if (place === undefined) continue
          const row = { offset: place.offset, file: file.path, line, column }
          rows.get(place.section)?.push(row) ?? rows.set(place.section, [row])
        }
    }
  } catch (error) {
    if (error instanceof HotpatchError && error.code !== 'DEFECT') return { folder: '', rows: new Map() }
    throw error
  }
  for (const ofSection of rows.values()) ofSection.sort((a, b) => a.offset - b.offset)
  return { folder, rows }
}
