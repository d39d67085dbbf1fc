/** The tables of GNU symbol versions that an image with imports has. */
import { viewOf } from '../struct.ts'
import { Elf64_Vernaux, Elf64_Verneed } from './definitions.ts'
import type { StringTableBuilder } from './tables.ts'

/** Versions that are asked of one library. */
export interface VersionNeed {
  /** Its soname. */
  readonly library: string
  /** `index`: what .gnu.version says of symbols of it. */
  readonly versions: readonly { readonly name: string; readonly index: number }[]
}

const VER_NEED_CURRENT = 1

/** The hash of DT_HASH, which versions have, too (System V gABI). */
export function sysvHash(name: string): number {
  let hash = 0
  for (const byte of Buffer.from(name, 'latin1')) {
    hash = ((hash << 4) + byte) >>> 0
    const high = hash & 0xf0000000
    hash = (hash ^ (high >>> 24) ^ high) >>> 0
  }
  return hash
}

/** Bytes of .gnu.version_r. */
export const versionNeedsSize = (needs: readonly VersionNeed[]): number =>
  needs.reduce((sum, { versions }) => sum + Elf64_Verneed.size + versions.length * Elf64_Vernaux.size, 0)

/** .gnu.version_r: each library's record with those of its versions behind it. */
export function encodeVersionNeeds(needs: readonly VersionNeed[], strings: StringTableBuilder): Uint8Array {
  const data = new Uint8Array(versionNeedsSize(needs))
  const view = viewOf(data)
  let at = 0
  needs.forEach(({ library, versions }, i) => {
    const size = Elf64_Verneed.size + versions.length * Elf64_Vernaux.size
    Elf64_Verneed.write(view, at, {
      vn_version: VER_NEED_CURRENT,
      vn_cnt: versions.length,
      vn_file: strings.add(library),
      vn_aux: Elf64_Verneed.size,
      vn_next: i + 1 < needs.length ? size : 0,
    })
    versions.forEach(({ name, index }, j) => {
      Elf64_Vernaux.write(view, at + Elf64_Verneed.size + j * Elf64_Vernaux.size, {
        vna_hash: sysvHash(name),
        vna_flags: 0,
        vna_other: index,
        vna_name: strings.add(name),
        vna_next: j + 1 < versions.length ? Elf64_Vernaux.size : 0,
      })
    })
    at += size
  })
  return data
}

/** .gnu.version: an index for each symbol of .dynsym, the null symbol's first. */
export function encodeVersionIndices(indices: readonly number[]): Uint8Array {
  const data = new Uint8Array((indices.length + 1) * 2)
  const view = viewOf(data)
  indices.forEach((index, i) => {
    view.setUint16((i + 1) * 2, index, true)
  })
  return data
}
