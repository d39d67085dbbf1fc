/** GNU symbol versions of .dynsym. */
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import { DT, Elf64_Verdaux, Elf64_Verdef, Elf64_Vernaux, Elf64_Verneed, VER_FLG_BASE, VERSYM_HIDDEN } from './definitions.ts'
import type { AddressedBytes, DynamicEntry } from './dynamic.ts'
import type { StringTable } from './strings.ts'

export interface SymbolVersion {
  readonly name: string
  /** Not the default: `name@VERSION` rather than `name@@VERSION`. A reference to another module's version counts as hidden. */
  readonly hidden: boolean
  /** Of a reference: the soname of the library that is to have it. */
  readonly library?: string | undefined
}

/** The version of a dynamic symbol by its index; undefined where it has none. */
export type SymbolVersions = (index: number) => SymbolVersion | undefined

/** Throws TRUNCATED, MALFORMED. */
export function readVersions(
  space: AddressedBytes,
  entries: readonly DynamicEntry[],
  strings: StringTable,
  symbolCount: number,
): SymbolVersions {
  const value = (tag: number): bigint | undefined => entries.find((e) => e.tag === tag)?.value
  const versym = value(DT.VERSYM)
  if (versym === undefined || symbolCount === 0) return () => undefined
  const indices = viewOf(space.at(versym, symbolCount * 2, 'DT_VERSYM'))
  const names = readVersionNames(space, entries, strings)
  return (index) => {
    if (index >= symbolCount) return undefined
    const raw = indices.getUint16(index * 2, true)
    const known = names.get(raw & ~VERSYM_HIDDEN)
    if (known === undefined) return undefined
    return { ...known, hidden: known.library !== undefined || (raw & VERSYM_HIDDEN) !== 0 }
  }
}

/** What the number of a version stands for. */
export interface VersionName {
  readonly name: string
  /** Of a reference: the soname of the library that is to have it. */
  readonly library: string | undefined
}

/** By what a symbol's entry in DT_VERSYM says without VERSYM_HIDDEN. Throws TRUNCATED, MALFORMED. */
export function readVersionNames(
  space: AddressedBytes,
  entries: readonly DynamicEntry[],
  strings: StringTable,
): ReadonlyMap<number, VersionName> {
  const value = (tag: number): bigint | undefined => entries.find((e) => e.tag === tag)?.value
  const names = new Map<number, VersionName>()

  /** Walks a list whose records tell the distance to the next; never backwards, never without end. */
  const walk = (start: bigint, size: number, what: string, visit: (data: Uint8Array, at: bigint) => number): void => {
    let steps = 0
    for (let at = start; ; ) {
      if (++steps > 0x10000) throw new HotpatchError('MALFORMED', `${what} does not end`)
      const next = visit(space.at(at, size, what), at)
      if (next === 0) return
      at += BigInt(next)
    }
  }

  const needs = value(DT.VERNEED)
  if (needs !== undefined)
    walk(needs, Elf64_Verneed.size, 'DT_VERNEED', (data, at) => {
      const need = Elf64_Verneed.readAt(data, 0)
      const library = strings(need.vn_file)
      if (need.vn_cnt > 0)
        walk(at + BigInt(need.vn_aux), Elf64_Vernaux.size, 'DT_VERNEED', (auxData) => {
          const aux = Elf64_Vernaux.readAt(auxData, 0)
          names.set(aux.vna_other & ~VERSYM_HIDDEN, { name: strings(aux.vna_name), library })
          return aux.vna_next
        })
      return need.vn_next
    })
  const definitions = value(DT.VERDEF)
  if (definitions !== undefined)
    walk(definitions, Elf64_Verdef.size, 'DT_VERDEF', (data, at) => {
      const definition = Elf64_Verdef.readAt(data, 0)
      if (definition.vd_cnt > 0 && !(definition.vd_flags & VER_FLG_BASE)) {
        const aux = Elf64_Verdaux.readAt(space.at(at + BigInt(definition.vd_aux), Elf64_Verdaux.size, 'DT_VERDEF'), 0)
        names.set(definition.vd_ndx & ~VERSYM_HIDDEN, { name: strings(aux.vda_name), library: undefined })
      }
      return definition.vd_next
    })
  return names
}
