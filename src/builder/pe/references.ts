/** Relocations of COFF objects as references in the graph's convention: a PC-relative field holds S + addend - P. */
import { relocationName } from '../../binary/coff/definitions.ts'
import type { CoffSymbol } from '../../binary/coff/symbols.ts'
import { HotpatchError } from '../../errors.ts'
import type { Architecture } from '../../machine/architecture.ts'
import { biasOf, EDGE_KINDS } from '../../machine/edges.ts'
import { indexAtMost } from './ascending.ts'
import type { CoffMachine } from './machines.ts'
import type { Reference } from './reference.ts'
import type { KeptSection } from './sections.ts'

/** The references of a section, by ascending offset. Throws MALFORMED for fields outside of it and relocations of no known meaning. */
export function referencesOf(from: KeptSection, symbols: ReadonlyMap<number, CoffSymbol>, machine: CoffMachine): Reference[] {
  const { section } = from
  const references: Reference[] = []
  for (const relocation of section.relocations) {
    if (relocation.type === machine.ignored) continue
    const facts = machine.relocations[relocation.type]
    if (facts === undefined)
      throw new HotpatchError(
        'MALFORMED',
        `${relocationName(machine.number, relocation.type)} in section ${section.name} has no meaning here`,
      )
    const target = symbols.get(relocation.symbolIndex)
    if (target === undefined)
      throw new HotpatchError('MALFORMED', `a relocation of section ${section.name} names symbol ${relocation.symbolIndex}, there is none`)
    const content = section.content
    if (content === undefined || relocation.offset + EDGE_KINDS[facts.kind].size > from.size)
      throw new HotpatchError('MALFORMED', `a relocation at offset ${relocation.offset} lies outside of section ${section.name}`)
    // COFF counts from the end of the field, or of the instruction; the graph counts from the field.
    const addend = machine.addend(facts.kind, content, relocation.offset) - facts.origin
    const kind = from.kind === 'code' ? machine.refine(facts.kind, content, relocation.offset) : facts.kind
    references.push({ from, offset: relocation.offset, kind, target, addend })
  }
  references.sort((a, b) => a.offset - b.offset)
  for (const [i, reference] of references.entries()) {
    const before = references[i - 1]
    if (before !== undefined && before.offset + EDGE_KINDS[before.kind].size > reference.offset)
      throw new HotpatchError('MALFORMED', `relocations overlap at offset ${reference.offset} of section ${section.name}`)
  }
  return machine.whole(references, section.content)
}

/**
 * Where in the target's section a reference through a section's symbol leads: its addend counts from the end of the instruction
 * (code), or, in tables of 32-bit distances, from the start of the table. `tableStart` is given once it is known.
 */
export function effectiveOffset(
  reference: Reference,
  entries: readonly number[],
  { code }: Architecture,
  tableStart?: number,
): number | undefined {
  const { from, offset, kind, target, addend } = reference
  if (!EDGE_KINDS[kind].pcRelative) return target.value + addend
  if (from.kind !== 'code') return tableStart === undefined ? undefined : target.value + addend - (offset - tableStart)
  if (kind !== 'pcrel32') return target.value + addend + biasOf(kind)
  const content = from.section.content as Uint8Array
  return target.value + addend + code.originOf(content, offset, entries[indexAtMost(entries, offset)])
}
