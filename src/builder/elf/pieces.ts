/** Where sections are cut into what moves as a unit. */
import { SHF, SHT, STT } from '../../binary/elf/definitions.ts'
import type { ElfSymbol } from '../../binary/elf/symbols.ts'
import type { CodeReading } from '../../machine/architecture.ts'
import type { Block } from '../graph.ts'
import type { KeptSection } from './sections.ts'

export interface Piece {
  readonly start: number
  readonly end: number
  readonly constant: Block['constant']
}

/** A section's blocks with the offsets at which they begin. */
export interface CutSection {
  readonly kept: KeptSection
  readonly starts: readonly number[]
  readonly blocks: readonly Block[]
}

/** What is known of a section before it is cut. */
export interface SectionUse {
  /** Offsets of its own relocated fields, ascending. */
  readonly relocated: readonly number[]
  /** Offsets that references through its section symbol mean, ascending, each once. */
  readonly aims: readonly number[]
  /** Some reference means a place that could not be told, or may mean one beyond what it names: nothing may be moved apart. */
  readonly undivided: boolean
}

/** Offset at which `value` would be inserted into an ascending list. */
export function lowerBound(list: readonly number[], value: number): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((list[middle] as number) < value) low = middle + 1
    else high = middle
  }
  return low
}

/** Whether an ascending list has a member in [start, end). */
const anyIn = (list: readonly number[], start: number, end: number): boolean => (list[lowerBound(list, start)] ?? Infinity) < end

const piece = (start: number, end: number, constant?: Block['constant']): Piece => ({ start, end, constant })

const whole = ({ section }: KeptSection): Piece[] => [piece(0, section.size)]

interface Range {
  start: number
  end: number
}

/** The places that sized symbols take, overlapping ones as one. */
function rangesOf(symbols: readonly ElfSymbol[], size: number): Range[] {
  const ranges: Range[] = []
  for (const symbol of symbols) {
    if (symbol.size === 0) continue
    const start = Number(symbol.value)
    const end = Math.min(size, start + symbol.size)
    const last = ranges[ranges.length - 1]
    if (last && start < last.end) last.end = Math.max(last.end, end)
    else if (start < end) ranges.push({ start, end })
  }
  return ranges
}

/** Whether a section has so little that a reference into it can only mean one thing. */
export function isSingle(kept: KeptSection): boolean {
  if (kept.merge) return false
  if (kept.kind === 'unwind') return false
  const ranges = rangesOf(kept.symbols, kept.section.size)
  const [only] = ranges
  if (ranges.length !== 1 || !only) return false
  return kept.kind === 'code' || (only.start === 0 && kept.section.size - only.end < Math.max(1, kept.section.align))
}

const isFunction = ({ type }: ElfSymbol): boolean => type === STT.FUNC || type === STT.GNU_IFUNC

/** Several functions of one section, apart; the pads that `-fpatchable-function-entry` put before a function go with it. */
export function codePieces(kept: KeptSection, use: SectionUse, code: CodeReading): Piece[] {
  const { section, content, symbols, entryPads } = kept
  const functions = rangesOf(symbols.filter(isFunction), section.size)
  if (functions.length < 2 || use.undivided || !content) return whole(kept)
  const offsets = symbols.map((s) => Number(s.value))
  const pieces: Piece[] = []
  let end = 0
  for (const range of [...functions, { start: section.size, end: section.size }]) {
    const pad = entryPads[lowerBound(entryPads, end)]
    const start = pad !== undefined && pad < range.start ? pad : range.start
    const free = !anyIn(offsets, end, start) && !anyIn(use.relocated, end, start) && !anyIn(use.aims, end, start)
    if (start > end && !(free && code.isPadding(content.subarray(end, start)))) pieces.push(piece(end, start))
    if (range.end > start) pieces.push(piece(start, range.end))
    end = range.end
  }
  return pieces
}

/** Variables of one section, apart. What lies between them without a name is cut as anonymous data is, or is padding. */
export function dataPieces(kept: KeptSection, use: SectionUse): Piece[] {
  const { section, content, symbols } = kept
  const ranges = rangesOf(symbols, section.size)
  if (use.undivided) return whole(kept)
  if (ranges.length === 0) return anonymousPieces(0, section.size, use)
  const offsets = symbols.map((s) => Number(s.value))
  const pieces: Piece[] = []
  let end = 0
  for (const range of [...ranges, { start: section.size, end: section.size }]) {
    const { start } = range
    // An aim at the very start of padding is one past the end of what comes before it.
    const padding =
      start - end < section.align && !anyIn(use.relocated, end, start) && (content?.subarray(end, start).every((b) => b === 0) ?? true)
    const named = anyIn(offsets, end, start)
    if (start > end && (named || anyIn(use.relocated, end, start) || anyIn(use.aims, padding ? end + 1 : end, start)))
      pieces.push(...anonymousPieces(end, start, use))
    if (range.end > start) pieces.push(piece(start, range.end))
    end = range.end
  }
  return pieces.length === 1 ? whole(kept) : pieces
}

/** Data without names: jump tables, which have relocations, are cut out where something refers to them; the rest stays together. */
function anonymousPieces(start: number, end: number, { relocated, aims }: SectionUse): Piece[] {
  const cuts = [start, ...aims.filter((aim) => aim > start && aim < end), end]
  const pieces: Piece[] = []
  let plain: Range | undefined
  for (let i = 0; i + 1 < cuts.length; i++) {
    const from = cuts[i] as number
    const to = cuts[i + 1] as number
    if (anyIn(relocated, from, to)) {
      if (plain) pieces.push(piece(plain.start, plain.end))
      plain = undefined
      pieces.push(piece(from, to))
    } else if (plain) plain.end = to
    else plain = { start: from, end: to }
  }
  if (plain) pieces.push(piece(plain.start, plain.end))
  return pieces
}

/** Exception tables: one for each FDE that refers to one. */
function exceptionPieces(size: number, aims: readonly number[]): Piece[] {
  const cuts = [0, ...aims.filter((aim) => aim > 0 && aim < size), size]
  return cuts.slice(1).map((end, i) => piece(cuts[i] as number, end))
}

function stringPieces({ section, content }: KeptSection): Piece[] {
  const pieces: Piece[] = []
  if (!content) return pieces
  const unit = section.entsize
  let start = 0
  for (let at = 0; at + unit <= content.length; at += unit) {
    let zero = true
    for (let i = 0; i < unit; i++) if (content[at + i] !== 0) zero = false
    if (!zero) continue
    pieces.push(piece(start, at + unit, 'strings'))
    start = at + unit
  }
  if (start < content.length) pieces.push(piece(start, content.length, 'strings'))
  return pieces
}

function fixedPieces({ section }: KeptSection): Piece[] {
  const count = section.size / section.entsize
  return Array.from({ length: count }, (_, i) => piece(i * section.entsize, (i + 1) * section.entsize, 'fixed'))
}

/** By ascending start, not overlapping; what no piece covers is padding. */
export function piecesOf(kept: KeptSection, use: SectionUse, code: CodeReading): Piece[] {
  const { section, kind, merge } = kept
  if (section.size === 0) return whole(kept)
  if (merge && section.type !== SHT.NOBITS && use.relocated.length === 0 && !use.undivided)
    return merge === 'strings' ? stringPieces(kept) : fixedPieces(kept)
  if (kind === 'code') return codePieces(kept, use, code)
  if (section.name.startsWith('.gcc_except_table') && !use.undivided && !(section.flags & SHF.WRITE))
    return exceptionPieces(section.size, use.aims)
  return dataPieces(kept, use)
}
