/** CodeView symbol and item records in a PDB, as far as they tell where things lie. */
import type { CodeViewRecord } from '../codeview/records.ts'
import { FIRST_INDEX } from '../codeview/type-definitions.ts'
import { cstring, type Struct, viewOf } from '../struct.ts'
import { BUILD_INFO, DataSym, LF, ProcSym, PUBSYM_FUNCTION, PubSym, S } from './definitions.ts'

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

/** A zero-terminated UTF-8 name. Throws TRUNCATED. */
export const textAt = (data: Uint8Array, at: number, what: string): string =>
  Buffer.from(cstring(data, at, what), 'latin1').toString('utf8')

const nameBehind = (data: Uint8Array, type: Struct<unknown>): string => textAt(data, type.size, 'the name of a symbol')

function procedure(data: Uint8Array, scope: PdbSymbol['scope']): PdbSymbol {
  const { len, off, seg } = ProcSym.readAt(data, 0)
  return { name: nameBehind(data, ProcSym), segment: seg, offset: off, size: len, kind: 'function', scope }
}

function datum(data: Uint8Array, kind: PdbSymbol['kind'], scope: PdbSymbol['scope']): PdbSymbol {
  const { off, seg } = DataSym.readAt(data, 0)
  return { name: nameBehind(data, DataSym), segment: seg, offset: off, size: 0, kind, scope }
}

function publicSymbol(data: Uint8Array): PdbSymbol {
  const { pubsymflags, off, seg } = PubSym.readAt(data, 0)
  const kind = pubsymflags & PUBSYM_FUNCTION ? 'function' : 'unknown'
  return { name: nameBehind(data, PubSym), segment: seg, offset: off, size: 0, kind, scope: 'public' }
}

const SYMBOLS: Readonly<Record<number, (data: Uint8Array) => PdbSymbol>> = {
  [S.PUB32]: publicSymbol,
  [S.GPROC32]: (data) => procedure(data, 'global'),
  [S.GPROC32_ID]: (data) => procedure(data, 'global'),
  [S.LPROC32]: (data) => procedure(data, 'local'),
  [S.LPROC32_ID]: (data) => procedure(data, 'local'),
  [S.GDATA32]: (data) => datum(data, 'data', 'global'),
  [S.LDATA32]: (data) => datum(data, 'data', 'local'),
  [S.GTHREAD32]: (data) => datum(data, 'thread-local', 'global'),
  [S.LTHREAD32]: (data) => datum(data, 'thread-local', 'local'),
}

/** undefined: the record says something else. Throws TRUNCATED. */
export const symbolOf = ({ kind, data }: CodeViewRecord): PdbSymbol | undefined => SYMBOLS[kind]?.(data)

/** The index into the id stream that a module's S_BUILDINFO holds. */
export const buildInfoIndex = ({ kind, data }: CodeViewRecord): number | undefined =>
  kind === S.BUILDINFO && data.length >= 4 ? viewOf(data).getUint32(0, true) : undefined

/** The source file that each LF_BUILDINFO of an id stream names, by its index. Throws TRUNCATED. */
export function readSourceFiles(items: readonly CodeViewRecord[]): Map<number, string> {
  const strings = new Map<number, string>()
  const sources = new Map<number, string>()
  for (const [i, { kind, data }] of items.entries()) {
    if (kind === LF.STRING_ID) strings.set(FIRST_INDEX + i, textAt(data, 4, 'a string of the id stream'))
    else if (kind === LF.BUILDINFO && data.length >= 2 + 4 * (BUILD_INFO.SOURCE_FILE + 1)) {
      const source = strings.get(viewOf(data).getUint32(2 + 4 * BUILD_INFO.SOURCE_FILE, true))
      if (source !== undefined && source !== '') sources.set(FIRST_INDEX + i, source)
    }
  }
  return sources
}
