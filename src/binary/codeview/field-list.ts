/** The parts of a field list (LF_FIELDLIST), those of its continuations included. */
import { HotpatchError } from '../../errors.ts'
import { type CodeViewRecord, Fields } from './records.ts'
import { LF, METHOD_KINDS } from './type-definitions.ts'

export type ListedField =
  /** `offset`: bytes from the start of the aggregate. */
  | { readonly what: 'member'; readonly name: string; readonly type: number; readonly offset: number }
  /** `offset` undefined: found at run time. */
  | { readonly what: 'base'; readonly type: number; readonly offset: number | undefined }
  | { readonly what: 'value'; readonly name: string; readonly value: number }
  /** `slot` undefined: that of the function which it overrides. */
  | { readonly what: 'virtual'; readonly name: string; readonly slot: number | undefined }

/** Bytes of a place in the virtual table. */
const SLOT = 8

const KINDS_OF_VIRTUALS: readonly number[] = Object.values(METHOD_KINDS)
const introduces = (attributes: number): boolean => {
  const kind = (attributes >> 2) & 7
  return kind === METHOD_KINDS.introducing || kind === METHOD_KINDS.pureIntroducing
}

/** In the order of the source. Throws TRUNCATED, MALFORMED (a list that continues in itself, a part that nobody knows). */
export function fieldsOfList(index: number, recordAt: (index: number) => CodeViewRecord | undefined): ListedField[] {
  const found: ListedField[] = []
  const seen = new Set<number>()
  const overloads = new Map<string, number>()
  const addVirtual = (name: string, attributes: number, slot: number | undefined): void => {
    if (!KINDS_OF_VIRTUALS.includes((attributes >> 2) & 7)) return
    // Functions of one name are told apart by their order.
    const count = (overloads.get(name) ?? 0) + 1
    overloads.set(name, count)
    found.push({ what: 'virtual', name: count === 1 ? name : `${name}#${count}`, slot: slot === undefined ? undefined : slot / SLOT })
  }
  for (let next: number | undefined = index; next !== undefined; ) {
    if (seen.has(next)) throw new HotpatchError('MALFORMED', `the field list 0x${next.toString(16)} continues in itself`)
    seen.add(next)
    const record = recordAt(next)
    next = undefined
    if (record?.kind !== LF.FIELDLIST) break
    const fields = new Fields(record.data)
    for (fields.skipPadding(); !fields.atEnd; fields.skipPadding()) {
      const kind = fields.u16()
      switch (kind) {
        case LF.MEMBER: {
          fields.u16()
          const type = fields.u32()
          const offset = fields.numeric()
          found.push({ what: 'member', name: fields.text(), type, offset })
          break
        }
        case LF.BCLASS:
        case LF.BINTERFACE: {
          fields.u16()
          const type = fields.u32()
          found.push({ what: 'base', type, offset: fields.numeric() })
          break
        }
        case LF.VBCLASS:
        case LF.IVBCLASS: {
          fields.u16()
          const type = fields.u32()
          fields.u32()
          fields.numeric()
          fields.numeric()
          // Every class lists its indirect virtual bases, too; those come with the direct ones.
          if (kind === LF.VBCLASS) found.push({ what: 'base', type, offset: undefined })
          break
        }
        case LF.VFUNCTAB:
          fields.u16()
          found.push({ what: 'member', name: '__vfptr', type: fields.u32(), offset: 0 })
          break
        case LF.ENUMERATE: {
          fields.u16()
          const value = fields.numeric()
          found.push({ what: 'value', name: fields.text(), value })
          break
        }
        case LF.STMEMBER:
        case LF.NESTTYPE:
          fields.u16()
          fields.u32()
          fields.text()
          break
        case LF.ONEMETHOD: {
          const attributes = fields.u16()
          fields.u32()
          const slot = introduces(attributes) ? fields.u32() : undefined
          addVirtual(fields.text(), attributes, slot)
          break
        }
        case LF.METHOD: {
          fields.u16()
          const list = recordAt(fields.u32())
          const name = fields.text()
          if (list?.kind === LF.METHODLIST) for (const { attributes, slot } of methodsOf(list)) addVirtual(name, attributes, slot)
          break
        }
        case LF.INDEX:
          fields.u16()
          next = fields.u32()
          break
        default:
          throw new HotpatchError('MALFORMED', `a field list has a part of the unknown kind 0x${kind.toString(16)}`)
      }
    }
  }
  return found
}

function* methodsOf({ data }: CodeViewRecord): Generator<{ readonly attributes: number; readonly slot: number | undefined }> {
  const fields = new Fields(data)
  while (!fields.atEnd) {
    const attributes = fields.u16()
    fields.u16()
    fields.u32()
    yield { attributes, slot: introduces(attributes) ? fields.u32() : undefined }
  }
}
