/**
 * .debug_info and .debug_types as one table: a row for each entry, in file order, with what layouts and signatures are made of. Types are
 * most of what debug information holds, and a row must cost next to nothing: columns are arrays of numbers, strings stay where they
 * are until somebody asks.
 */
import { HotpatchError } from '../../errors.ts'
import { cstring } from '../struct.ts'
import { type Abbreviation, readAbbreviations } from './abbreviations.ts'
import { ATTRIBUTES, type AttributeContext, type RowWriter, readAttribute } from './attributes.ts'
import { Cursor } from './cursor.ts'
import { COLUMNS, type Column, homeOf, offsetOf, STRING_HOMES } from './debug-info-columns.ts'
import { DW_AT, DW_FORM, DW_UT } from './debug-info-definitions.ts'
import type { DebugSections } from './debug-sections.ts'
import { directForm, passForm, readOffset, toNumber, type UnitFormat } from './forms.ts'

export interface DieTable {
  readonly count: number
  get(row: number, column: Column): number
  /** The string of a handle; undefined for NaN. Throws TRUNCATED. */
  text(handle: number): string | undefined
  /** The row at a place; undefined where nothing begins there. */
  rowAt(place: number): number | undefined
  /** Whether the unit that a row belongs to is of DWARF 4 or 5, and so on. */
  readonly versions: ReadonlySet<number>
}

const WIDTH = COLUMNS.length
const index = Object.fromEntries(COLUMNS.map((column, i) => [column, i])) as Record<Column, number>

const WANTED: ReadonlySet<number> = new Set(ATTRIBUTES.keys())

/** Reads all units. Throws TRUNCATED, MALFORMED. */
export function readDebugInfo(sections: DebugSections): DieTable {
  return new DebugInfoReader(sections).read()
}

interface Unit extends AttributeContext {
  readonly abbreviations: ReadonlyMap<number, Abbreviation>
}

class DebugInfoReader implements DieTable, RowWriter {
  readonly #sections: DebugSections
  readonly versions = new Set<number>()
  #rows = new Float64Array(WIDTH * 1024).fill(Number.NaN)
  count = 0
  readonly #rowAt = new Map<number, number>()
  /** Places of the types of type units, by signature. */
  readonly #signatures = new Map<bigint, number>()
  /** Signatures that rows refer to, by row. */
  readonly #wantedSignatures: [row: number, column: number, signature: bigint][] = []
  readonly #tables = new Map<string, Map<number, Abbreviation>>()
  readonly #texts = new Map<number, string>()
  /** Sections with the place at which each begins. */
  readonly #homes: {
    readonly bytes: Uint8Array
    readonly base: number
    readonly types: boolean
  }[] = []

  constructor(sections: DebugSections) {
    this.#sections = sections
    let base = 0
    for (const [list, types] of [[sections.info, false] as const, [sections.types, true] as const])
      for (const bytes of list) {
        this.#homes.push({ bytes, base, types })
        base += bytes.length
      }
  }

  read(): DieTable {
    for (const home of this.#homes) this.#readSection(home)
    for (const [row, column, signature] of this.#wantedSignatures) {
      const place = this.#signatures.get(signature)
      if (place !== undefined) this.#rows[row * WIDTH + column] = place
    }
    return this
  }

  get(row: number, column: Column): number {
    return this.#rows[row * WIDTH + index[column]] as number
  }

  rowAt(place: number): number | undefined {
    return this.#rowAt.get(place)
  }

  text(handle: number): string | undefined {
    if (Number.isNaN(handle)) return undefined
    let known = this.#texts.get(handle)
    if (known === undefined) {
      known = this.#readText(handle)
      this.#texts.set(handle, known)
    }
    return known
  }

  #readText(handle: number): string {
    const at = offsetOf(handle)
    switch (homeOf(handle)) {
      case STRING_HOMES.str:
        return cstring(this.#sections.str, at, 'a string of .debug_str')
      case STRING_HOMES.lineStr:
        return cstring(this.#sections.lineStr, at, 'a string of .debug_line_str')
      default: {
        const home = this.#homes.findLast(({ base }) => base <= at)
        return home === undefined ? '' : cstring(home.bytes, at - home.base, 'a string of .debug_info')
      }
    }
  }

  #readSection({ bytes, base, types }: { bytes: Uint8Array; base: number; types: boolean }): void {
    const cursor = new Cursor(bytes)
    while (!cursor.done) {
      const start = cursor.at
      const first = cursor.u32()
      const offsetSize = first === 0xffffffff ? 8 : 4
      const length = offsetSize === 8 ? toNumber(cursor.u64()) : first
      if (length > bytes.length - cursor.at)
        throw new HotpatchError('TRUNCATED', `a unit of debug information at offset ${start} is said to have ${length} bytes`)
      const end = cursor.at + length
      this.#readUnit(new Cursor(bytes, cursor.at, end), { start, base, types, offsetSize })
      cursor.at = end
    }
  }

  #readUnit(cursor: Cursor, where: { start: number; base: number; types: boolean; offsetSize: number }): void {
    const { start, base, offsetSize } = where
    const version = cursor.u16()
    if (version < 2 || version > 5) throw new HotpatchError('MALFORMED', `a unit of debug information is of DWARF version ${version}`)
    this.versions.add(version)
    const kind = version >= 5 ? cursor.u8() : where.types ? DW_UT.type : DW_UT.compile
    let addressSize = version >= 5 ? cursor.u8() : 0
    const abbreviations = readOffset(cursor, { version, offsetSize, addressSize })
    if (version < 5) addressSize = cursor.u8()
    const format = { version, offsetSize, addressSize }
    if (kind === DW_UT.type || kind === DW_UT.split_type) {
      const signature = cursor.u64()
      this.#signatures.set(signature, base + start + readOffset(cursor, format))
    } else if (kind === DW_UT.skeleton || kind === DW_UT.split_compile) cursor.skip(8)
    const unit: Unit = {
      ...format,
      base: base + start,
      sectionBase: base,
      cursor,
      strOffsets: this.#sections.strOffsets,
      abbreviations: this.#abbreviations(abbreviations, format),
      // Behind the header of .debug_str_offsets where the unit does not say (split units).
      strOffsetsBase: offsetSize === 8 ? 16 : 8,
    }
    this.#readEntries(unit)
  }

  #abbreviations(offset: number, format: UnitFormat): Map<number, Abbreviation> {
    const key = `${offset} ${format.version} ${format.offsetSize} ${format.addressSize}`
    let table = this.#tables.get(key)
    if (table === undefined) {
      table = readAbbreviations(this.#sections.abbrev, offset, format, WANTED)
      this.#tables.set(key, table)
    }
    return table
  }

  #readEntries(unit: Unit): void {
    const { cursor, abbreviations } = unit
    const parents: number[] = []
    while (!cursor.done) {
      const at = cursor.at
      const code = cursor.uleb()
      if (code === 0) {
        const closed = parents.pop()
        if (closed !== undefined) this.#rows[closed * WIDTH + index.end] = this.count
        if (parents.length === 0) break
        continue
      }
      const abbreviation = abbreviations.get(code)
      if (abbreviation === undefined)
        throw new HotpatchError('MALFORMED', `an entry of debug information at offset ${at} has the unknown abbreviation ${code}`)
      const row = this.#newRow()
      const start = row * WIDTH
      const rows = this.#rows
      const place = unit.sectionBase + at
      rows[start + index.tag] = abbreviation.tag
      rows[start + index.place] = place
      rows[start + index.parent] = parents[parents.length - 1] ?? -1
      rows[start + index.end] = row + 1
      rows[start + index.flags] = 0
      this.#rowAt.set(place, row)
      if (parents.length === 0) this.#findStringBase(unit, abbreviation)
      for (const step of abbreviation.steps) {
        if ('skip' in step) cursor.skip(step.skip)
        else if ('pass' in step) passForm(cursor, step.pass, unit)
        else {
          const form = step.form === DW_FORM.indirect ? directForm(cursor) : step.form
          readAttribute(this, step.attribute, form, step.implicit, unit)
        }
      }
      if (abbreviation.hasChildren) parents.push(row)
      else if (parents.length === 0) break
    }
    for (const open of parents) this.#rows[open * WIDTH + index.end] = this.count
  }

  /** The unit's own entry says where its string offsets begin, perhaps behind the first attribute that needs it. */
  #findStringBase(unit: Unit, { steps }: Abbreviation): void {
    if (!steps.some((step) => 'attribute' in step && step.attribute === DW_AT.str_offsets_base)) return
    const { cursor } = unit
    const from = cursor.at
    for (const step of steps) {
      if ('skip' in step) cursor.skip(step.skip)
      else if ('pass' in step) passForm(cursor, step.pass, unit)
      else if (step.attribute === DW_AT.str_offsets_base && step.form === DW_FORM.sec_offset) unit.strOffsetsBase = readOffset(cursor, unit)
      else passForm(cursor, step.form, unit)
    }
    cursor.at = from
  }

  #newRow(): number {
    const row = this.count++
    if (this.count * WIDTH > this.#rows.length) {
      const grown = new Float64Array(this.#rows.length * 2).fill(Number.NaN, this.#rows.length)
      grown.set(this.#rows)
      this.#rows = grown
    }
    return row
  }

  /*
   * The row that is being read.
   */
  set(column: Column, value: number | undefined): void {
    if (value !== undefined) this.#rows[(this.count - 1) * WIDTH + index[column]] = value
  }

  flag(flag: number): void {
    const at = (this.count - 1) * WIDTH + index.flags
    this.#rows[at] = (this.#rows[at] as number) | flag
  }

  refer(column: Column, signature: bigint): void {
    this.#wantedSignatures.push([this.count - 1, index[column], signature])
  }
}
