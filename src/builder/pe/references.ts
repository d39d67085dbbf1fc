/** Relocations of COFF objects as references in the graph's convention: a PC-relative field holds S + addend - P. */
import { IMAGE_FILE_MACHINE, IMAGE_REL_AMD64, relocationName } from '../../binary/coff/definitions.ts'
import type { CoffRelocation } from '../../binary/coff/reader.ts'
import type { CoffSymbol } from '../../binary/coff/symbols.ts'
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import { architectureOf } from '../../machine/architectures.ts'
import { biasOf, EDGE_KINDS, type EdgeKind } from '../../machine/edges.ts'
import { indexAtMost } from './ascending.ts'
import type { KeptSection } from './sections.ts'

export interface Reference {
  readonly from: KeptSection
  /** Of the field, from the start of its section. */
  readonly offset: number
  readonly kind: EdgeKind
  readonly target: CoffSymbol
  readonly addend: number
}

type Type = (typeof IMAGE_REL_AMD64)[keyof typeof IMAGE_REL_AMD64]

/** Edge kinds by relocation; `after`: bytes that the instruction has behind the field, by the relocation's own word. */
const KINDS: Readonly<Partial<Record<Type, { kind: EdgeKind; after: number }>>> = {
  [IMAGE_REL_AMD64.ADDR64]: { kind: 'abs64', after: 0 },
  [IMAGE_REL_AMD64.ADDR32]: { kind: 'abs32', after: 0 },
  [IMAGE_REL_AMD64.ADDR32NB]: { kind: 'image32', after: 0 },
  [IMAGE_REL_AMD64.REL32]: { kind: 'pcrel32', after: 0 },
  [IMAGE_REL_AMD64.REL32_1]: { kind: 'pcrel32', after: 1 },
  [IMAGE_REL_AMD64.REL32_2]: { kind: 'pcrel32', after: 2 },
  [IMAGE_REL_AMD64.REL32_3]: { kind: 'pcrel32', after: 3 },
  [IMAGE_REL_AMD64.REL32_4]: { kind: 'pcrel32', after: 4 },
  [IMAGE_REL_AMD64.REL32_5]: { kind: 'pcrel32', after: 5 },
  [IMAGE_REL_AMD64.SECTION]: { kind: 'section16', after: 0 },
  [IMAGE_REL_AMD64.SECREL]: { kind: 'secrel32', after: 0 },
}

/** The references of a section, by ascending offset. Throws MALFORMED for fields outside of it and relocations of no known meaning. */
export function referencesOf(from: KeptSection, symbols: ReadonlyMap<number, CoffSymbol>): Reference[] {
  const { section } = from
  const references: Reference[] = []
  for (const relocation of section.relocations) {
    if (relocation.type === IMAGE_REL_AMD64.ABSOLUTE) continue
    const facts = KINDS[relocation.type as Type]
    if (facts === undefined)
      throw new HotpatchError(
        'MALFORMED',
        `${relocationName(IMAGE_FILE_MACHINE.AMD64, relocation.type)} in section ${section.name} has no meaning here`,
      )
    const target = symbols.get(relocation.symbolIndex)
    if (target === undefined)
      throw new HotpatchError('MALFORMED', `a relocation of section ${section.name} names symbol ${relocation.symbolIndex}, there is none`)
    const size = EDGE_KINDS[facts.kind].size
    const content = section.content
    if (content === undefined || relocation.offset + size > from.size)
      throw new HotpatchError('MALFORMED', `a relocation at offset ${relocation.offset} lies outside of section ${section.name}`)
    const pcRelative = EDGE_KINDS[facts.kind].pcRelative
    // COFF counts from the end of the field, or of the instruction; the graph counts from the field.
    const addend = readAddend(content, relocation, size) - (pcRelative ? 4 + facts.after : 0)
    const kind = facts.kind === 'pcrel32' && from.kind === 'code' && isBranch(content, relocation.offset) ? 'branch32' : facts.kind
    references.push({ from, offset: relocation.offset, kind, target, addend })
  }
  references.sort((a, b) => a.offset - b.offset)
  for (const [i, reference] of references.entries()) {
    const before = references[i - 1]
    if (before !== undefined && before.offset + EDGE_KINDS[before.kind].size > reference.offset)
      throw new HotpatchError('MALFORMED', `relocations overlap at offset ${reference.offset} of section ${section.name}`)
  }
  return references
}

function readAddend(content: Uint8Array, relocation: CoffRelocation, size: number): number {
  const view = viewOf(content)
  if (size === 2) return view.getInt16(relocation.offset, true)
  if (size === 4) return view.getInt32(relocation.offset, true)
  const wide = view.getBigInt64(relocation.offset, true)
  if (BigInt.asIntN(53, wide) !== wide) throw new HotpatchError('MALFORMED', `the addend at offset ${relocation.offset} is beyond measure`)
  return Number(wide)
}

/**
 * Whether the field is the distance of a call (E8), jump (E9) or conditional jump (0F 80..8F). A rip-relative ModRM byte, the
 * other thing that can stand before such a field, has mod 0: it is never one of those.
 */
function isBranch(code: Uint8Array, field: number): boolean {
  const last = code[field - 1] ?? 0
  return last === 0xe8 || last === 0xe9 || (code[field - 2] === 0x0f && last >= 0x80 && last <= 0x8f)
}

/**
 * Where in the target's section a reference through a section's symbol leads: its addend counts from the end of the instruction
 * (code), or, in tables of 32-bit distances, from the start of the table. `tableStart` is given once it is known.
 */
export function effectiveOffset(reference: Reference, entries: readonly number[], tableStart?: number): number | undefined {
  const { from, offset, kind, target, addend } = reference
  if (!EDGE_KINDS[kind].pcRelative) return target.value + addend
  if (from.kind !== 'code') return tableStart === undefined ? undefined : target.value + addend - (offset - tableStart)
  if (kind !== 'pcrel32') return target.value + addend + biasOf(kind)
  const content = from.section.content as Uint8Array
  return target.value + addend + architectureOf('x64').code.originOf(content, offset, entries[indexAtMost(entries, offset)])
}
