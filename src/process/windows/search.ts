/** `Process.search`: all memory that the process can have written to. */
import type { SearchRequest, SearchResult } from '../contract.ts'
import { searchParts } from '../search.ts'
import { readInto } from './memory.ts'
import { accessOf, type Pages, walkPages } from './memory-map.ts'
import { addressSpace } from './places.ts'
import type { Target } from './target.ts'

export function searchMemory(target: Target, request: SearchRequest): SearchResult {
  const { lowest, highest } = addressSpace()
  const parts = [...walkPages(target, lowest, highest)].filter(mayHold)
  return searchParts(request, parts, (address, into) => {
    try {
      readInto(target, address, into)
      return into.length
    } catch {
      return 0
    }
  })
}

/** Private memory whatever its protection is now; of images and files, what can be written. Guard pages hold nothing yet. */
function mayHold({ state, kind, protection }: Pages): boolean {
  if (state !== 'committed') return false
  const { read, write } = accessOf(protection)
  return kind === 'private' ? read : write
}
