/**
 * Linker maps: text that a linker writes about what it laid out where. Four kinds: GNU ld's `-Map`, lld's `-Map` for ELF and for PE
 * (`-lldmap`), and the `/map` of Microsoft's link.exe and lld-link. None says which image it is of; the sections in it must tell.
 */
import type { LinkerMap } from './definitions.ts'
import { gnuMap } from './gnu.ts'
import { lldMap } from './lld.ts'
import { msvcMap } from './msvc.ts'

const READERS: readonly ((text: string) => LinkerMap | undefined)[] = [msvcMap, gnuMap, lldMap]

/** undefined: the text is no map of a linker known here. */
export function readLinkerMap(data: Uint8Array): LinkerMap | undefined {
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1')
  for (const read of READERS) {
    const map = read(text)
    if (map !== undefined) return map
  }
  return undefined
}
