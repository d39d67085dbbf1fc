/**
 * Reads .debug_line, versions 2 to 5: which line of which file the code at an address was made from. For objects the caller applies
 * relocations first, each section at an address of its own (elf/line-sections.ts, coff/line-sections.ts); images need nothing.
 */
import { HotpatchError } from '../../errors.ts'
import { Cursor } from './cursor.ts'
import { DW_LNE, DW_LNS, DWARF64, RESERVED_LENGTHS } from './debug-line-definitions.ts'
import { type FileTable, type LineFile, readFileTable, readFileTable5 } from './debug-line-files.ts'

export interface LineSections {
  /** .debug_line */
  readonly line: Uint8Array
  /** .debug_line_str; version 5 keeps its names there. */
  readonly lineStrings: Uint8Array | undefined
  /** .debug_str */
  readonly strings: Uint8Array | undefined
}

/** From `address` up to the next row's, code was made from this place. */
export interface LineRow {
  readonly address: number
  readonly file: LineFile
  /** From 1; 0: from no line. */
  readonly line: number
  /** From 1; 0: not known. */
  readonly column: number
  readonly isStatement: boolean
}

/** Rows of one piece of code, by ascending address. */
export interface LineSequence {
  readonly rows: readonly LineRow[]
  /** One past the last byte. */
  readonly end: number
}

/** Of one compilation unit. */
export interface LineProgram {
  /** Of its header in the section. */
  readonly offset: number
  readonly version: number
  readonly folders: readonly string[]
  readonly files: readonly LineFile[]
  readonly sequences: readonly LineSequence[]
}

interface Header extends FileTable {
  readonly offset: number
  readonly version: number
  readonly minimumInstruction: number
  readonly operationsPerInstruction: number
  readonly defaultIsStatement: boolean
  readonly lineBase: number
  readonly lineRange: number
  readonly opcodeBase: number
  /** ULEB128 operands by opcode. */
  readonly operands: readonly number[]
}

/**
 * All programs of the section. Sequences at addresses beyond 2^53 (those that a linker has thrown away) are left out.
 * Throws TRUNCATED, MALFORMED.
 */
export function readLinePrograms(sections: LineSections): LineProgram[] {
  const programs: LineProgram[] = []
  const all = new Cursor(sections.line)
  while (!all.done) {
    const offset = all.at
    const { length, wide } = readLength(all)
    const unit = new Cursor(sections.line, all.at, all.at + length)
    all.at += length
    const header = readHeader(unit, { offset, wide }, sections)
    programs.push({ offset, version: header.version, folders: header.folders, files: header.files, sequences: run(unit, header) })
  }
  return programs
}

function readLength(cursor: Cursor): { length: number; wide: boolean } {
  const first = cursor.u32()
  const wide = first === DWARF64
  const length = wide ? Number(cursor.u64()) : first
  if ((!wide && first >= RESERVED_LENGTHS) || length > cursor.end - cursor.at)
    throw new HotpatchError('TRUNCATED', `a line program of ${length} bytes at ${cursor.at} does not lie within its ${cursor.end} bytes`)
  return { length, wide }
}

function readHeader(cursor: Cursor, at: { readonly offset: number; readonly wide: boolean }, sections: LineSections): Header {
  const version = cursor.u16()
  if (version < 2 || version > 5) throw new HotpatchError('MALFORMED', `the line program at ${at.offset} is of version ${version}`)
  // Sizes of addresses and of segment selectors; the instructions carry their lengths themselves.
  if (version === 5) cursor.bytes(2)
  const headerLength = at.wide ? Number(cursor.u64()) : cursor.u32()
  const programStart = cursor.at + headerLength
  if (programStart > cursor.end) throw new HotpatchError('TRUNCATED', `the header of the line program at ${at.offset} is cut off`)
  const minimumInstruction = cursor.u8()
  const operationsPerInstruction = version >= 4 ? cursor.u8() : 1
  const defaultIsStatement = cursor.u8() !== 0
  const lineBase = cursor.i8()
  const lineRange = cursor.u8()
  const opcodeBase = cursor.u8()
  const operands = [0, ...cursor.bytes(Math.max(0, opcodeBase - 1))]
  if (lineRange === 0 || operationsPerInstruction === 0 || opcodeBase === 0)
    throw new HotpatchError('MALFORMED', `the line program at ${at.offset} divides by zero`)
  const tables = new Cursor(cursor.data, cursor.at, programStart)
  const table = version === 5 ? readFileTable5(tables, { ...sections, wide: at.wide }) : readFileTable(tables)
  cursor.at = programStart
  return {
    offset: at.offset,
    version,
    minimumInstruction,
    operationsPerInstruction,
    defaultIsStatement,
    lineBase,
    lineRange,
    opcodeBase,
    operands,
    ...table,
  }
}

const NO_FILE: LineFile = { name: '', folder: 0, path: '' }

/** The state machine of section 6.2.2, as far as rows tell of it. */
function run(cursor: Cursor, header: Header): LineSequence[] {
  const sequences: LineSequence[] = []
  let rows: LineRow[] = []
  let [address, operation, file, line, column, isStatement] = [0, 0, 1, 1, 0, header.defaultIsStatement]
  const files = [...header.files]
  const emit = () => void rows.push({ address, file: files[file] ?? NO_FILE, line, column, isStatement })
  const advance = (operations: number): void => {
    const total = operation + operations
    address += header.minimumInstruction * Math.floor(total / header.operationsPerInstruction)
    operation = total % header.operationsPerInstruction
  }
  const extended = (): void => {
    const length = cursor.uleb()
    const end = cursor.at + length
    const opcode = length === 0 ? 0 : cursor.u8()
    if (end > cursor.end) throw new HotpatchError('TRUNCATED', `an instruction of the line program at ${header.offset} is cut off`)
    switch (opcode) {
      case DW_LNE.end_sequence:
        if (rows.length > 0 && Number.isSafeInteger(address)) sequences.push({ rows: sorted(rows), end: address })
        rows = []
        ;[address, operation, file, line, column, isStatement] = [0, 0, 1, 1, 0, header.defaultIsStatement]
        break
      case DW_LNE.set_address:
        address = length === 9 ? Number(cursor.u64()) : length === 5 ? cursor.u32() : Number.POSITIVE_INFINITY
        operation = 0
        break
      case DW_LNE.define_file: {
        const { files: defined } = readFileTable(new Cursor(Uint8Array.from([0, ...cursor.bytes(length - 1), 0])))
        files.push(defined[1] ?? NO_FILE)
        break
      }
    }
    cursor.at = end
  }
  while (!cursor.done) {
    const opcode = cursor.u8()
    if (opcode >= header.opcodeBase) {
      const adjusted = opcode - header.opcodeBase
      advance(Math.floor(adjusted / header.lineRange))
      line += header.lineBase + (adjusted % header.lineRange)
      emit()
      continue
    }
    switch (opcode) {
      case 0:
        extended()
        break
      case DW_LNS.copy:
        emit()
        break
      case DW_LNS.advance_pc:
        advance(cursor.uleb())
        break
      case DW_LNS.advance_line:
        line += cursor.sleb()
        break
      case DW_LNS.set_file:
        file = cursor.uleb()
        break
      case DW_LNS.set_column:
        column = cursor.uleb()
        break
      case DW_LNS.negate_stmt:
        isStatement = !isStatement
        break
      case DW_LNS.const_add_pc:
        advance(Math.floor((255 - header.opcodeBase) / header.lineRange))
        break
      case DW_LNS.fixed_advance_pc:
        address += cursor.u16()
        operation = 0
        break
      default:
        for (let i = 0; i < (header.operands[opcode] ?? 0); i++) cursor.uleb()
    }
  }
  return sequences
}

/** A producer may put rows in any order only across sequences (section 6.2.1); what is damaged may not keep to that. */
function sorted(rows: LineRow[]): LineRow[] {
  return rows.every((row, i) => i === 0 || (rows[i - 1] as LineRow).address <= row.address)
    ? rows
    : [...rows].sort((a, b) => a.address - b.address)
}
