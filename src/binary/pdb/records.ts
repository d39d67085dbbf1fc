/** CodeView symbol and type records in a stream. */
import { HotpatchError } from '../../errors.ts'
import { cstring, type Struct, slice, viewOf } from '../struct.ts'
import { BUILD_INFO, DataSym, LF, ProcSym, PUBSYM_FUNCTION, PubSym, RecordHeader, S, TpiHeader } from './definitions.ts'

export interface CodeViewRecord {
  readonly kind: number
  /** What follows the header. */
  readonly body: Uint8Array
}

/** The records of `data` in order. Throws TRUNCATED, MALFORMED. */
export function* readRecords(data: Uint8Array, what: string): Generator<CodeViewRecord> {
  const view = viewOf(data)
  for (let at = 0; at + RecordHeader.size <= data.length; ) {
    const length = view.getUint16(at, true)
    if (length < 2) throw new HotpatchError('MALFORMED', `a record of ${what} at offset ${at} claims ${length} bytes`)
    yield { kind: view.getUint16(at + 2, true), body: slice(data, at + RecordHeader.size, length - 2, `a record of ${what}`) }
    at += length + 2
  }
}

/** Something that lies in the image, as a symbol record has it. */
export interface PdbSymbol {
  /** The linker's name in a public symbol; elsewhere the source's (`space::function`), which for C is the same. */
  readonly name: string
  /** Number of the image's section, from 1. 0: none, it was left out of the image. */
  readonly segment: number
  /** From the start of the section. */
  readonly offset: number
  /** Bytes; 0 where the record does not say. */
  readonly size: number
  readonly kind: 'function' | 'data' | 'thread-local' | 'unknown'
  readonly scope: 'public' | 'global' | 'local'
}

const nameBehind = (body: Uint8Array, type: Struct<unknown>): string =>
  Buffer.from(cstring(body, type.size, 'the name of a symbol'), 'latin1').toString('utf8')

function procedure(body: Uint8Array, scope: PdbSymbol['scope']): PdbSymbol {
  const { len, off, seg } = ProcSym.readAt(body, 0)
  return { name: nameBehind(body, ProcSym), segment: seg, offset: off, size: len, kind: 'function', scope }
}

function datum(body: Uint8Array, kind: PdbSymbol['kind'], scope: PdbSymbol['scope']): PdbSymbol {
  const { off, seg } = DataSym.readAt(body, 0)
  return { name: nameBehind(body, DataSym), segment: seg, offset: off, size: 0, kind, scope }
}

function publicSymbol(body: Uint8Array): PdbSymbol {
  const { pubsymflags, off, seg } = PubSym.readAt(body, 0)
  const kind = pubsymflags & PUBSYM_FUNCTION ? 'function' : 'unknown'
  return { name: nameBehind(body, PubSym), segment: seg, offset: off, size: 0, kind, scope: 'public' }
}

const SYMBOLS: Readonly<Record<number, (body: Uint8Array) => PdbSymbol>> = {
  [S.PUB32]: publicSymbol,
  [S.GPROC32]: (body) => procedure(body, 'global'),
  [S.GPROC32_ID]: (body) => procedure(body, 'global'),
  [S.LPROC32]: (body) => procedure(body, 'local'),
  [S.LPROC32_ID]: (body) => procedure(body, 'local'),
  [S.GDATA32]: (body) => datum(body, 'data', 'global'),
  [S.LDATA32]: (body) => datum(body, 'data', 'local'),
  [S.GTHREAD32]: (body) => datum(body, 'thread-local', 'global'),
  [S.LTHREAD32]: (body) => datum(body, 'thread-local', 'local'),
}

/** undefined: the record says something else. Throws TRUNCATED. */
export const symbolOf = ({ kind, body }: CodeViewRecord): PdbSymbol | undefined => SYMBOLS[kind]?.(body)

/** The index into the id stream that a module's S_BUILDINFO holds. */
export const buildInfoIndex = ({ kind, body }: CodeViewRecord): number | undefined =>
  kind === S.BUILDINFO && body.length >= 4 ? viewOf(body).getUint32(0, true) : undefined

/** The source file that each LF_BUILDINFO of an id stream names, by its index. Throws TRUNCATED, MALFORMED. */
export function readSourceFiles(ids: Uint8Array): Map<number, string> {
  const header = TpiHeader.readAt(ids, 0)
  const records = slice(ids, header.HeaderSize, header.TypeRecordBytes, 'the records of the id stream')
  const strings = new Map<number, string>()
  const sources = new Map<number, string>()
  let index = header.TypeIndexBegin
  for (const { kind, body } of readRecords(records, 'the id stream')) {
    if (kind === LF.STRING_ID) strings.set(index, Buffer.from(cstring(body, 4, 'a string of the id stream'), 'latin1').toString('utf8'))
    else if (kind === LF.BUILDINFO && body.length >= 2 + 4 * (BUILD_INFO.SOURCE_FILE + 1)) {
      const source = strings.get(viewOf(body).getUint32(2 + 4 * BUILD_INFO.SOURCE_FILE, true))
      if (source !== undefined && source !== '') sources.set(index, source)
    }
    index += 1
  }
  return sources
}
