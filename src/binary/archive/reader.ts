/**
 * Reads archives of object files: GNU and System V (`name/`, `/123` into the member `//`), BSD (`#1/len`) and COFF, whose
 * two linker members are symbol tables like GNU's one. Symbol tables are left out: whoever reads an archive here reads all of it.
 */
import { HotpatchError } from '../../errors.ts'
import { slice } from '../struct.ts'
import { ARFMAG, ARMAG, ARMAG_THIN, ar_hdr } from './definitions.ts'

export interface ArchiveMember {
  /** As the archive has it; two members may have the same. */
  readonly name: string
  readonly data: Uint8Array
}

const startsWith = (data: Uint8Array, magic: string): boolean =>
  data.length >= magic.length && Array.from(magic).every((c, i) => data[i] === c.charCodeAt(0))

/** Whether the data begins as an archive does, thin ones included. */
export const isArchive = (data: Uint8Array): boolean => startsWith(data, ARMAG) || startsWith(data, ARMAG_THIN)

/** `/` (GNU, and both of COFF), `/SYM64/`, `/<ECSYMBOLS>/`, and BSD's `__.SYMDEF` family. */
const isSymbolTable = (name: string): boolean =>
  name === '/' || /^\/(SYM64|<[A-Z]+SYMBOLS>)\/$/.test(name) || /^__\.SYMDEF(_64)?( SORTED)?$/.test(name)

function number(field: string, what: string): number {
  const text = field.trim()
  if (!/^\d+$/.test(text)) throw new HotpatchError('MALFORMED', `${what} is "${text}", which is not a number`)
  return Number(text)
}

const text = (data: Uint8Array): string => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1')

/** The name in the long-name member: GNU ends it with `/` and a line feed, COFF with a zero. */
function longName(names: Uint8Array | undefined, offset: number): string {
  if (!names || offset >= names.length)
    throw new HotpatchError('MALFORMED', `a member's name is at offset ${offset} of the long names, which end before it`)
  let end = offset
  while (end < names.length && names[end] !== 0 && names[end] !== 0x0a) end++
  return text(names.subarray(offset, end)).replace(/\/$/, '')
}

/**
 * The members in file order. Their data are views of the archive's.
 * Throws FORMAT_UNKNOWN, ARCHIVE_THIN, TRUNCATED, MALFORMED.
 */
export function readArchive(data: Uint8Array): ArchiveMember[] {
  if (startsWith(data, ARMAG_THIN)) throw new HotpatchError('ARCHIVE_THIN', 'the archive holds the names of its members, not the members')
  if (!startsWith(data, ARMAG)) throw new HotpatchError('FORMAT_UNKNOWN', 'the data does not begin as an archive does')
  const members: ArchiveMember[] = []
  let names: Uint8Array | undefined
  for (let at = ARMAG.length; at < data.length; ) {
    // Members begin at even offsets; some tools leave a last line feed behind the last one.
    if (data.length - at === 1 && data[at] === 0x0a) break
    const header = ar_hdr.readAt(data, at)
    if (header.ar_fmag !== ARFMAG) throw new HotpatchError('MALFORMED', `the member at offset ${at} of the archive has no header`)
    const size = number(header.ar_size, `the size of the member at offset ${at}`)
    const content = slice(data, at + ar_hdr.size, size, 'a member of the archive')
    at += ar_hdr.size + size + (size & 1)

    const short = header.ar_name.trimEnd()
    if (isSymbolTable(short)) continue
    if (short === '//') {
      names = content
      continue
    }
    if (short.startsWith('#1/')) {
      const length = number(short.slice(3), 'the length of a BSD member name')
      const name = text(slice(content, 0, length, 'the name of a BSD member')).replace(/\0+$/, '')
      if (!isSymbolTable(name)) members.push({ name, data: content.subarray(length) })
    } else if (/^\/\d+$/.test(short)) {
      members.push({ name: longName(names, Number(short.slice(1))), data: content })
    } else {
      members.push({ name: short.replace(/\/$/, ''), data: content })
    }
  }
  return members
}
