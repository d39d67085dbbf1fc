/**
 * How a section of a COFF object is cut into blocks. Where compilers were told to give everything a section of its own there is
 * nothing to cut, with one exception: mingw's gcc puts all string literals, constants and jump tables of an object into one
 * section `.rdata`, without symbols.
 */
import { IMAGE_SYM_CLASS } from '../../binary/coff/definitions.ts'
import { isFunctionSymbol } from '../../binary/coff/symbols.ts'
import { indexAtMost } from './ascending.ts'
import type { PdataRecord } from './machines.ts'
import type { KeptSection } from './sections.ts'

export interface Piece {
  /** From the start of the section. */
  readonly start: number
  readonly end: number
  /** Pieces of one section with the same number keep their distance. */
  readonly group: number | undefined
  readonly constant: 'strings' | 'fixed' | undefined
}

export interface Fields {
  /** Offsets of relocated fields in the section, ascending, with their sizes. */
  readonly relocated: readonly { readonly offset: number; readonly size: number }[]
  /** Offsets of the section that references through its own symbol lead to. */
  readonly referenced: ReadonlySet<number>
}

/** Offsets at which functions begin. */
export function entriesOf(kept: KeptSection): number[] {
  // Hand-written assembly and the defaults of weak functions leave the type out.
  const entries = kept.symbols.filter((symbol) => isFunctionSymbol(symbol) || symbol.storageClass === IMAGE_SYM_CLASS.EXTERNAL)
  return [...new Set([0, ...entries.map((symbol) => symbol.value)])].filter((offset) => offset < kept.size).sort((a, b) => a - b)
}

/** The pieces of a section, ascending, without holes. */
export function piecesOf(kept: KeptSection, fields: Fields, record: PdataRecord): Piece[] {
  if (kept.size === 0) return [{ start: 0, end: 0, ...STANDALONE }]
  switch (kept.kind) {
    case 'code': {
      // Assemblers resolve calls within a section without a relocation: functions that share one cannot move apart.
      const entries = entriesOf(kept)
      return between(entries, kept.size, { group: entries.length > 1 ? 0 : undefined, constant: undefined })
    }
    case 'unwind':
      return between(unwindCuts(kept, fields, record), kept.size, { group: undefined, constant: undefined })
    case 'rodata': {
      const named = namedOffsets(kept)
      const anonymousEnd = named[0] ?? kept.size
      const isString = kept.symbols.some((symbol) => symbol.value === 0 && STRING_SYMBOLS.test(symbol.name))
      const whole = { group: undefined, constant: isString ? ('strings' as const) : constantOf(kept) }
      return [...anonymousPieces(kept, anonymousEnd, fields), ...between(named, kept.size, whole)]
    }
    default:
      return between([0, ...namedOffsets(kept)], kept.size, { group: undefined, constant: undefined })
  }
}

/** Clang's string literals: private ones of mingw targets, and the COMDATs of MSVC targets. */
const STRING_SYMBOLS = /^(\.str(\.\d+)?|\?\?_C@.*)$/
/** Constants of the floating point and vector units, COMDATs of MSVC targets. */
const FIXED_SYMBOLS = /^__(real|xmm|ymm|zmm)@/

const constantOf = (kept: KeptSection): 'fixed' | undefined =>
  kept.symbols.some((symbol) => symbol.value === 0 && FIXED_SYMBOLS.test(symbol.name)) ? 'fixed' : undefined

const namedOffsets = (kept: KeptSection): number[] => [
  ...new Set(
    kept.symbols
      .filter((symbol) => symbol.storageClass !== IMAGE_SYM_CLASS.LABEL && symbol.value < kept.size)
      .map((symbol) => symbol.value),
  ),
]

function between(cuts: readonly number[], end: number, common: Pick<Piece, 'group' | 'constant'>): Piece[] {
  const starts = [...new Set(cuts)].sort((a, b) => a - b)
  return starts.map((start, i) => ({ start, end: starts[i + 1] ?? end, ...common })).filter((piece) => piece.end > piece.start)
}

/** .pdata is cut into its records, .xdata at what records refer to. */
function unwindCuts(kept: KeptSection, fields: Fields, { size }: PdataRecord): number[] {
  if (kept.section.name.startsWith('.pdata')) return Array.from({ length: Math.ceil(kept.size / size) }, (_, i) => i * size)
  return [0, ...[...fields.referenced].filter((offset) => offset > 0 && offset < kept.size), ...namedOffsets(kept)]
}

const cutsInside = (cuts: readonly number[], range: Range): readonly number[] =>
  cuts.slice(indexAtMost(cuts, range.start) + 1, indexAtMost(cuts, range.end - 1) + 1)

interface Range {
  readonly start: number
  readonly end: number
}

/**
 * The part [0, end) of a section that has no symbols. Runs of relocated fields (jump tables, tables of pointers) become pieces
 * that stand alone. All else is cut at what is referred to, so that one constant can be compared with another, but keeps its
 * distance: nothing says how far code reads from where it refers to.
 */
function anonymousPieces(kept: KeptSection, end: number, fields: Fields): Piece[] {
  const cuts = [...new Set([0, ...fields.referenced, end])].filter((offset) => offset >= 0 && offset <= end).sort((a, b) => a - b)
  const content = kept.section.content
  const isZero = (range: Range): boolean => content === undefined || content.subarray(range.start, range.end).every((byte) => byte === 0)
  const tables = tablesIn(fields.relocated, cuts, end, isZero)
  const pieces: Piece[] = []
  let group = 0
  let at = 0
  for (const table of [...tables, { start: end, end }]) {
    const rest = { start: at, end: table.start }
    if (rest.end > rest.start) pieces.push(...constantsIn(rest, cuts, content, group++))
    pieces.push(...between([table.start, ...cutsInside(cuts, table)], table.end, STANDALONE))
    at = table.end
  }
  return pieces
}

const STANDALONE = { group: undefined, constant: undefined }

/** The stretches between cuts that hold relocated fields, neighbours as one: [start, end), ascending, not overlapping. */
function tablesIn(relocated: Fields['relocated'], cuts: readonly number[], end: number, isZero: (range: Range) => boolean): Range[] {
  const tables: { start: number; end: number }[] = []
  for (const [i, field] of relocated.entries()) {
    if (field.offset >= end) break
    const cut = indexAtMost(cuts, field.offset)
    const start = cuts[cut] as number
    const next = cuts[cut + 1] ?? end
    const following = relocated[i + 1]
    // Only the last field of a stretch ends it.
    if (following !== undefined && following.offset < next) continue
    const fieldEnd = field.offset + field.size
    // Zeros behind the table only fill up to the next constant's alignment.
    const tableEnd = Math.max(fieldEnd, isZero({ start: fieldEnd, end: next }) ? fieldEnd : next)
    const last = tables[tables.length - 1]
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, tableEnd)
    else tables.push({ start, end: tableEnd })
  }
  return tables
}

function constantsIn(range: Range, cuts: readonly number[], content: Uint8Array | undefined, group: number): Piece[] {
  const inside = cutsInside(cuts, range)
  const pieces: Piece[] = []
  for (const piece of between([range.start, ...inside], range.end, { group, constant: 'fixed' })) {
    const text = content === undefined ? 0 : textLength(content.subarray(piece.start, piece.end))
    if (text === 0) pieces.push(piece)
    else {
      pieces.push({ ...piece, end: piece.start + text, constant: 'strings' })
      // What fills up to the next constant's alignment is no part of the string.
      if (piece.start + text < piece.end) pieces.push({ ...piece, start: piece.start + text })
    }
  }
  return pieces.length === 1 ? pieces.map((piece) => ({ ...piece, group: undefined })) : pieces
}

/** Bytes of the string that the data begins with, its zero included, where nothing but zeros follows it; else 0. */
function textLength(data: Uint8Array): number {
  const zero = data.indexOf(0)
  if (zero <= 0) return 0
  const printable = data.subarray(0, zero).every((byte) => byte >= 0x20 || (byte >= 0x07 && byte <= 0x0d) || byte === 0x1b)
  return printable && data.subarray(zero).every((byte) => byte === 0) ? zero + 1 : 0
}
