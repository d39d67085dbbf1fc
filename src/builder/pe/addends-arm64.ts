/**
 * Addends of ARM64 COFF objects: they stand in the instructions themselves, in bytes ("PE format", ARM64 relocations; lld's Chunks.cpp).
 *
 * An ADRP's is whole, and signed; that of the instruction which adds the rest has its low 12 bits alone. So it takes the ADRP's that goes with it: else
 * the two would seem to refer to different places of a section.
 */
import { HotpatchError } from '../../errors.ts'
import { offsetOf } from '../../machine/arm64/fields.ts'
import { wordAt } from '../../machine/arm64/instructions.ts'
import type { EdgeKind } from '../../machine/edges.ts'
import type { Reference } from './reference.ts'

const PAGE = 4096

/** undefined: the field is no part of an instruction. Throws MALFORMED. */
export function arm64Addend(kind: EdgeKind, content: Uint8Array, field: number): number | undefined {
  const word = () => wordAt(content, field)
  switch (kind) {
    case 'page21':
    case 'adr21':
      // Bits 29 and 30 are the lowest.
      return ((word() << 8) >> 13) * 4 + ((word() >>> 29) & 3)
    case 'pageoff12': {
      const offset = offsetOf(word())
      if (offset === undefined) throw new HotpatchError('MALFORMED', `the instruction at offset ${field} adds no offset to a page`)
      return offset
    }
    case 'branch26':
    case 'branch19':
    case 'branch14':
      // Linkers do not agree on what it would mean.
      if (branchField(kind, word()) !== 0)
        throw new HotpatchError('MALFORMED', `the branch at offset ${field} has a distance before it is linked`)
      return 0
    case 'secrelhi12':
    case 'secrello12':
      return (word() >>> 10) & 0xfff
    default:
      return undefined
  }
}

const branchField = (kind: EdgeKind, word: number): number =>
  kind === 'branch26' ? word & 0x3ffffff : (word >>> 5) & (kind === 'branch19' ? 0x7ffff : 0x3fff)

const modulo = (value: number): number => ((value % PAGE) + PAGE) % PAGE

const baseRegister = (word: number): number => (word >>> 5) & 31

/**
 * References of one section by ascending offset, those to the rest of a page with the whole addend: that of the nearest ADRP before (else of the
 * nearest behind) that refers to the same symbol, in the register that is added to where there is one, and can be meant.
 */
export function withWholeAddends(references: readonly Reference[], content: Uint8Array | undefined): Reference[] {
  const pages = references.filter(({ kind }) => kind === 'page21')
  return references.map((reference) => {
    const { kind, offset, addend, target } = reference
    if (kind !== 'pageoff12' || content === undefined) return reference
    const fitting = pages.filter((page) => page.target === target && modulo(page.addend) === modulo(addend))
    const register = baseRegister(wordAt(content, offset))
    const sameRegister = fitting.filter((page) => (wordAt(content, page.offset) & 31) === register)
    const among = sameRegister.length > 0 ? sameRegister : fitting
    const page = among.findLast((each) => each.offset < offset) ?? among[0]
    return page === undefined ? reference : { ...reference, addend: page.addend }
  })
}
