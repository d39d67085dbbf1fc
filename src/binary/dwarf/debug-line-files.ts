/** The tables of folders and files in the header of a line program: two shapes, of versions 2 to 4 and of version 5. */
import { HotpatchError } from '../../errors.ts'
import { cstring } from '../struct.ts'
import type { Cursor } from './cursor.ts'
import { DW_LNCT, LINE_FORM } from './debug-line-definitions.ts'

export interface LineFile {
  /** As the producer wrote it. */
  readonly name: string
  /** Index in the table of folders. */
  readonly folder: number
  /** Folder and name, as the compiler was given them: relative to the folder of the compilation, or absolute. */
  readonly path: string
}

export interface FileTable {
  /** 0: the folder of the compilation; '' before version 5, which does not say. */
  readonly folders: readonly string[]
  /** By the numbers that instructions use: from 1 before version 5, from 0 in it. */
  readonly files: readonly LineFile[]
}

/** Lists in which each member ends with a zero byte, and the whole with an empty member (DWARF 4, section 6.2.4). */
export function readFileTable(cursor: Cursor): FileTable {
  const folders = ['']
  for (let name = string(cursor); name !== ''; name = string(cursor)) folders.push(name)
  const files: LineFile[] = [{ name: '', folder: 0, path: '' }]
  for (let name = string(cursor); name !== ''; name = string(cursor)) {
    const folder = cursor.uleb()
    // Time of the last change, and size.
    cursor.uleb()
    cursor.uleb()
    files.push({ name, folder, path: pathOf(name, folder, folders) })
  }
  return { folders, files }
}

interface Strings {
  readonly lineStrings: Uint8Array | undefined
  readonly strings: Uint8Array | undefined
  /** Offsets are of 8 bytes. */
  readonly wide: boolean
}

/** Self-describing tables (DWARF 5, section 6.2.4). Throws TRUNCATED, MALFORMED. */
export function readFileTable5(cursor: Cursor, strings: Strings): FileTable {
  const folders = entries(cursor, strings).map(({ name }) => name)
  const files = entries(cursor, strings).map(({ name, folder }) => ({ name, folder, path: pathOf(name, folder, folders) }))
  return { folders, files }
}

interface Entry {
  readonly name: string
  readonly folder: number
}

function entries(cursor: Cursor, strings: Strings): Entry[] {
  const columns = Array.from({ length: cursor.u8() }, () => ({ holds: cursor.uleb(), form: cursor.uleb() }))
  const count = cursor.uleb()
  if (columns.length === 0 && count > 0) throw new HotpatchError('MALFORMED', `${count} entries of a line program's header have no columns`)
  const found: Entry[] = []
  for (let i = 0; i < count; i++) {
    let [name, folder] = ['', 0]
    for (const { holds, form } of columns) {
      const value = formValue(cursor, form, strings)
      if (holds === DW_LNCT.path && typeof value === 'string') name = value
      if (holds === DW_LNCT.directory_index && typeof value === 'number') folder = value
    }
    found.push({ name, folder })
  }
  return found
}

/** undefined: read, and of no use here. */
function formValue(cursor: Cursor, form: number, strings: Strings): string | number | undefined {
  switch (form) {
    case LINE_FORM.string:
      return string(cursor)
    case LINE_FORM.line_strp:
      return stringAt(strings.lineStrings, cursor, strings, '.debug_line_str')
    case LINE_FORM.strp:
      return stringAt(strings.strings, cursor, strings, '.debug_str')
    case LINE_FORM.udata:
      return cursor.uleb()
    case LINE_FORM.data1:
      return cursor.u8()
    case LINE_FORM.data2:
      return cursor.u16()
    case LINE_FORM.data4:
      return cursor.u32()
    case LINE_FORM.data8:
      return void cursor.bytes(8)
    case LINE_FORM.data16:
      return void cursor.bytes(16)
    case LINE_FORM.block:
      return void cursor.bytes(cursor.uleb())
    case LINE_FORM.block1:
      return void cursor.bytes(cursor.u8())
    case LINE_FORM.block2:
      return void cursor.bytes(cursor.u16())
    case LINE_FORM.block4:
      return void cursor.bytes(cursor.u32())
    // Indices of strings whose table's start is in .debug_info: such files stay without a name.
    case LINE_FORM.strx:
      return void cursor.uleb()
    case LINE_FORM.strx1:
      return void cursor.bytes(1)
    case LINE_FORM.strx2:
      return void cursor.bytes(2)
    case LINE_FORM.strx3:
      return void cursor.bytes(3)
    case LINE_FORM.strx4:
      return void cursor.bytes(4)
    default:
      throw new HotpatchError('MALFORMED', `form ${form} has no place in the header of a line program`)
  }
}

function stringAt(table: Uint8Array | undefined, cursor: Cursor, { wide }: Strings, what: string): string {
  const offset = wide ? Number(cursor.u64()) : cursor.u32()
  return cstring(table ?? new Uint8Array(0), offset, `a name in ${what}`)
}

/** Up to the zero byte, which is read as well. Bytes stay bytes (Latin-1), so that names compare with what stands in read-only data. */
function string(cursor: Cursor): string {
  const start = cursor.at
  while (cursor.u8() !== 0);
  return Buffer.from(cursor.data.buffer, cursor.data.byteOffset + start, cursor.at - 1 - start).toString('latin1')
}

const isAbsolute = (path: string): boolean => /^([/\\]|[A-Za-z]:[/\\])/.test(path)

function pathOf(name: string, folder: number, folders: readonly string[]): string {
  const within = folders[folder] ?? ''
  return folder === 0 || within === '' || isAbsolute(name) ? name : `${within}/${name}`
}
